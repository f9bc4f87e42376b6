"""`dvc metrics diff` and `dvc plots diff` between two commits, as the page on judging a model shows them."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from docs import code_blocks
from pipelines import paths
from tests.functional.commands import printed, run
from tests.pipelines.evaluate.report import shown
from tests.pipelines.evaluate.report.shown import FETCHED

PAGE = "docs/how-to/judge-a-model.md"


def test_two_commits_are_compared_in_metrics_and_in_plots_with_named_axes(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "project"
    shutil.copytree(project, copy, symlinks=True)
    printed(copy, "git", "add", "--all", "--force", "dvc.lock", "metrics.json")
    printed(copy, "git", "commit", "--quiet", "--allow-empty", "--message=before")
    # A later model, in its figures alone.
    metrics = json.loads((copy / "metrics.json").read_bytes())
    (copy / "metrics.json").write_text(json.dumps(metrics | {"roc_auc": metrics["roc_auc"] + 0.01}))
    curve = copy / "reports" / "plots" / "roc.csv"
    content = curve.read_text()
    curve.unlink()  # a link to the cache
    curve.write_text(content.replace("1.0,1.0", "1.0,0.999"))
    printed(copy, "dvc", "commit", "--force", "--quiet", "evaluate")
    printed(copy, "git", "commit", "--quiet", "--all", "--message=after")
    block = code_blocks.block(PAGE, "plots diff")
    metrics_diff, plots_diff, compare = (shlex.split(line, comments=True) for line in block.splitlines() if line)
    told = printed(copy, *metrics_diff)
    assert "roc_auc" in told
    assert "0.01" in told
    plots: dict[str, list[Any]] = json.loads(printed(copy, *plots_diff, "--json"))["data"]
    declared = [next(iter(entry.items())) for entry in yaml.safe_load((copy / "dvc.yaml").read_text())["plots"]]
    declared_as = dict(declared)
    assert set(declared_as) <= set(plots)
    for title, entry in declared:
        # DVC's confusion matrix has the names of its columns on its axes, whatever is declared.
        labels = (
            ("actual", "predicted") if entry.get("template") == "confusion" else (entry["x_label"], entry["y_label"])
        )
        for plot in plots[title]:
            drawn = json.dumps(json.loads(plot["content"]) if isinstance(plot["content"], str) else plot["content"])
            assert all(f'"title": "{label}"' in drawn for label in labels), title
    assert plots["ROC curve"][0]["revisions"] == ["HEAD~1", "HEAD"]
    assert str(copy / paths.COMPARISON) in printed(copy, *compare)
    page = html.unescape((copy / paths.COMPARISON).read_text())
    with_rows = [title for title, found in plots.items() if any(each["content"]["data"]["values"] for each in found)]
    drawn = [title for title in declared_as if title in with_rows and declared_as[title].get("template") != "confusion"]
    assert re.findall('<svg role="img" aria-label="(.*?)"', page) == drawn
    for title in drawn:
        picture = page[page.index(f'aria-label="{title}"') :].split("</svg>")[0]
        for said in (declared_as[title]["x_label"], declared_as[title]["y_label"], ">HEAD~1<", ">HEAD<"):
            assert said in picture, title
    assert "<h2>Confusion matrix</h2>" in page
    figures = [block for block in shown.of_html(page) if block.head in ("HEAD~1", "HEAD")]
    assert shown.unbounded(figures, {}) == []
    assert f"{metrics['roc_auc'] + 0.01:.4f} (" in page
    assert not FETCHED.findall(page)
    printed(copy, "git", "branch", "same")
    refused = run(copy, sys.executable, "-m", "pipelines", "compare", "HEAD", "same")
    assert refused.returncode == os.EX_CONFIG
    assert "HEAD and same are the same commit" in refused.stderr
