"""The evaluation report: its structure, and how a browser without a network shows it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.params.judging.split import GroupedSplit, PredefinedSplit, Split, StratifiedSplit, TemporalSplit
from pipelines.params.params import TargetParams
from pipelines.stages.evaluate.gates import gate
from pipelines.stages.evaluate.report import curves, page, sentences
from pipelines.stages.evaluate.report.sentences import held_out
from tests.pipelines.evaluate.report.conftest import Evaluated
from tests.pipelines.evaluate.report.shown import FETCHED

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_BOUNDED = {"measure": "gap in errors", "figure": 0.12, "lower_bound": 0.03, "upper_bound": 0.2}
_FIGURES = {"outcome": _BOUNDED, "calibration_gap": _BOUNDED}
_UNCLUSTERED = {"clusters": 30, "unit": "days", "resamples": 200, "seed": 1}
_PROBE = """<script>
const root = document.documentElement;
const style = query => getComputedStyle(document.querySelector(query));
const isCut = table => table.scrollWidth > root.clientWidth && !table.closest(".scroll");
document.title = JSON.stringify({ground: style("body").backgroundColor, wide: root.scrollWidth - root.clientWidth,
    fetched: performance.getEntriesByType("resource").map(entry => entry.name), ink: style("svg text").fill,
    line: style("svg path[style*=accent]").stroke, cut: [...document.querySelectorAll("table")].filter(isCut).length});
</script>"""


def test_verdict_and_its_reason_come_first_and_every_heading_has_its_place(evaluated: Evaluated) -> None:
    text = html.unescape(evaluated.page)
    assert FETCHED.findall(text) == []
    first, reason = text.index("<strong>Approved</strong>"), text.index("checks passed; with 95 % bounds ROC-AUC is 0.")
    headings = re.findall(r"<h2(?: id=\"(\w+)\")?>([^<]+)", text)
    assert first < reason < text.index("<h2")
    assert [name for name, _ in headings if name] == [
        "checks", "live", "curves", "figures", "slices", "costs", "features", "memory", "rows", "lineage",
    ]  # fmt: skip
    assert not set(re.findall(r'href="#(\w+)"', text)) - {name for name, _ in headings}
    assert "1mo" not in text
    assert text.count("<table") == text.count('<div class="scroll" tabindex="0"><table')


def test_page_says_counts_confusion_and_digests(evaluated: Evaluated) -> None:
    text, lineage = html.unescape(evaluated.page), evaluated.found.lineage
    assert "Confusion at the served threshold, 0.5" in text
    holdout = evaluated.found.metrics["holdout"]
    confusion = evaluated.found.approval["confusion"]
    assert [row["actual"] for row in confusion] == ["kept", "broken"]
    assert sum(row["rows"] for row in confusion) == holdout["rows"]
    assert all(sum(cell["rows"] for cell in row["answered"]) == row["rows"] for row in confusion)
    assert sum(lineage["parts"].values()) == sum(entry["rows"] for entry in lineage["months"].values())
    assert lineage["parts"]["holdout"] == holdout["rows"] + holdout["unlabelled"]
    assert len(lineage["model"]["model.onnx"]) == 64
    assert lineage["model"]["model.onnx"] in text
    assert "unknown: it was not validated" in text


def test_ids_of_the_page_are_its_own(evaluated: Evaluated) -> None:
    ids = re.findall(r' id="([^"]+)"', evaluated.page)
    assert len(ids) == len(set(ids)) > 30
    assert evaluated.page.count('<svg role="img" aria-label=') == evaluated.page.count("<svg")
    assert not re.findall(r"#[0-9a-f]{6}", evaluated.page[evaluated.page.index("<svg") :])  # all in the page's colours


@pytest.mark.parametrize(
    ("share", "said"),
    [
        ((0.335, 0.3, 0.4), "33.5% (30.0% to 40.0%)"),
        ((0.0027, 0.0021, 0.0134), "0.27% (0.21% to 1.3%)"),
        ((0.0, 0.0, 0.00017), "0.0% (0.0% to 0.017%)"),
        ((0.00002, 0.0, 0.0003), "< 0.01% (0.0% to 0.03%)"),
    ],
)
def test_rare_shares_differ_from_each_other(share: tuple[float, float, float], said: str) -> None:
    found = dict(zip(("figure", "lower_bound", "upper_bound"), share, strict=True))
    assert sentences.figure(found, sentences.SHARE) == said


def test_no_table_stands_where_no_slices_are_declared(evaluated: Evaluated) -> None:
    weak = {"measure": "mean log loss", "sentence": "None was found.", "found": []}
    slices = {
        "slices": [], "left_out": [], "fewest_rows": 30, "fewest_clusters": 20, "unit": "days", "every": None, "some": None, "weak": weak
    }  # fmt: skip
    text = page.render(
        evaluated.params, replace(evaluated.found, approval=evaluated.found.approval | {"slices": slices})
    )
    section = text[text.index('<h2 id="slices">') : text.index('<h2 id="costs">')]
    assert "None are declared" in section
    assert "None was found." in section
    assert "<table>" not in section


def test_sections_of_others_are_shown_with_bounds_or_with_the_words_too_small(evaluated: Evaluated) -> None:
    live = {**_BOUNDED, "rows": 9, "clusters": 9, "p_worse": 0.1, "p_holm": 0.2, "detectable": 0.1}
    slices = {
        "fewest_rows": 30, "fewest_clusters": 20, "unit": "days", "resamples": 200, "seed": 1, "margin": None, "asked": "every",
        "slices": [
            {"by": "depot", "value": name, "rows": 900, "clusters": 30, "figures": figures, "live": compared}
            for name, figures, compared in (
                ("fine", {**_FIGURES, "headline": {**_BOUNDED, "figure": 0.9}}, live | {"verdict": "passed", "is_worse": False}),
                ("harmed", {"headline": {**_BOUNDED, "figure": 0.8}}, live | {"verdict": "failed", "is_worse": True}),
                ("small", {}, None),
            )
        ],
        "left_out": [{"by": "depot", "values": 3, "rows": 12}],
        "every": {"verdict": "failed", "slices": 2, "passed": 1, "failed": 1, "undecided": 0, "sentence": "One slice is worse."},
        "some": None,
        "weak": {
                "measure": "mean log loss", "tried": 9, "columns": ["depot"], "searched": {}, "tested": {}, "sentence": "One was found.",
                "found": [
                    {"value": "weak one", "rows": 90, "clusters": 20, "loss": _BOUNDED, "elsewhere": _BOUNDED, "difference": _BOUNDED,
                     "p": 0.01, "p_holm": 0.02, "verdict": "weak"},
                    {"value": "few rows", "rows": 9, "clusters": 2, "loss": None, "elsewhere": None, "difference": None, "p_holm": None,
                     "verdict": "undecided"},
                ],
            },
    }  # fmt: skip
    fairness = [
        {
            "column": "depot",
            "groups": [{"value": "north", "rows": 600, "clusters": 30, "figures": {"error_rate": _BOUNDED}}],
            "left_out": {"values": 1, "rows": 7},
            "gaps": {"error_rate": {**_BOUNDED, "between": ["north", "south"], "limit": 0.1, "verdict": "undecided"}},
        }
    ]
    behaviour = [
        {
            **_BOUNDED, **_UNCLUSTERED, "name": "distance +10 never lowers the score", "asks": "", "rows": 500, "violations": 60,
            "largest": -0.2, "allowed": None, "verdict": "reported",
        }
    ]  # fmt: skip
    reliability = {
        **_UNCLUSTERED,
        "confidence": 0.95,
        "bins": [
            {"predicted": at, "observed": at, "lower_bound": at - 0.1, "upper_bound": at + 0.1, "rows": 90}
            for at in (0.2, 0.4, 0.8)
        ],
    }
    more = {"slices": slices, "fairness": fairness, "behaviour": behaviour, "reliability": reliability}
    found = replace(evaluated.found, approval=evaluated.found.approval | more)
    text = html.unescape(page.render(evaluated.params, found))
    harmed, fine, small = (text.index(f"<strong>{name}</strong>") for name in ("harmed", "fine", "small"))
    assert harmed < fine < small
    assert "too small" in text[small : small + 200]
    for said in (
        "few rows",
        "weak one",
        "One slice is worse.",
        "north and south",
        "distance +10 never lowers the score",
        ">Reliability, bins of equal count<",
        "3 values of depot",
    ):
        assert said in text
    assert page.render(evaluated.params, found) == page.render(evaluated.params, found)


def test_page_without_contributions_says_so(evaluated: Evaluated) -> None:
    text = page.render(evaluated.params, replace(evaluated.found, effects=None))
    assert "Contributions to single scores are known of XGBoost's trees only" in html.unescape(text)


def test_figures_over_few_clusters_say_so_in_place_of_bounds(evaluated: Evaluated) -> None:
    gates = evaluated.params.gates.model_copy(update={"clusters": 500})
    text = page.render(evaluated.params.model_copy(update={"gates": gates}), evaluated.found)
    assert "(too few days: 31)" in text


@pytest.mark.parametrize(("verdict", "told"), [("failed", "failed:"), ("undecided", "did not decide:")])
def test_reason_names_the_check_that_decided(evaluated: Evaluated, verdict: str, told: str) -> None:
    checks = [
        check | {"verdict": verdict} if at == 1 else check
        for at, check in enumerate(evaluated.found.approval["checks"])
    ]
    title = {"failed": "rejected", "undecided": "held"}[verdict]
    changed = {"checks": checks, "verdict": title, "approved": False}
    text = html.unescape(
        page.render(evaluated.params, replace(evaluated.found, approval=evaluated.found.approval | changed))
    )
    assert f"<p>“{checks[1]['name']}” {told} " in text
    named = {name: checks[1][name] for name in ("name", "verdict")}
    without = {"checks": [checks[0], gate.without_figure("nothing to try", "much", 9) | named]}
    reason = sentences.because(evaluated.found.approval | changed | without)
    assert reason.startswith(f"“{checks[1]['name']}” {told} nothing to try; required is much")


def test_bands_hold_the_curve_of_labels_and_numbers_have_none() -> None:
    draw = np.random.default_rng(3)
    scores = draw.random(3_000)
    outcomes = (draw.random(3_000) < scores).astype(np.int8)
    target = TargetParams.model_validate({"column": "a", "task": "binary", "labels": ["no", "yes"]})
    found = curves.bands(target, outcomes, scores, np.arange(3_000) // 30, resamples=100, seed=1)
    curve = curves.roc(outcomes, scores)
    at = [point["fpr"] for point in curve]
    measured = np.interp([row["fpr"] for row in found["roc"]], at, [point["tpr"] for point in curve])
    inner = [
        row["lower_bound"] - 0.01 <= value <= row["upper_bound"] + 0.01
        for row, value in zip(found["roc"], measured, strict=True)
    ]
    assert np.mean(inner) > 0.95
    assert 0.005 < found["roc"][50]["upper_bound"] - found["roc"][50]["lower_bound"] < 0.1
    assert all(row["lower_bound"] > 0.5 for row in found["pr"][:50])
    numbers = TargetParams.model_validate({"column": "a", "task": "regression"})
    assert curves.bands(numbers, scores, scores, np.arange(3_000), resamples=9, seed=1) == {}


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
@pytest.mark.parametrize(("scheme", "ground", "ink"), [(1, 255, 28), (0, 20, 227)])
def test_browser_shows_the_page_in_its_colours_without_a_network(
    evaluated: Evaluated, tmp_path: Path, scheme: int, ground: int, ink: int
) -> None:
    probed = tmp_path / "probed.html"
    probed.write_text(evaluated.page.replace("</body>", f"{_PROBE}</body>"))
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--window-size=500,900",
        f"--blink-settings=preferredColorScheme={scheme}",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    command = [str(BROWSER), *options, "--dump-dom", probed.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    (title,) = re.findall("<title>(.*?)</title>", done.stdout)
    seen: dict[str, Any] = json.loads(html.unescape(title))
    assert (seen["fetched"], seen["wide"], seen["cut"]) == ([], 0, 0)
    assert int(seen["ground"].split("(")[1].split(",")[0]) == ground
    assert int(seen["ink"].split("(")[1].split(",")[0]) == ink
    assert seen["line"].startswith("rgb")


YEAR = [f"2013-{month:02d}" for month in range(1, 13)]


@pytest.mark.parametrize(
    ("split", "months", "said"),
    [
        (TemporalSplit(kind="temporal"), YEAR, "the last month of 2013-01 to 2013-12"),
        (TemporalSplit(kind="temporal", holdout="3mo"), YEAR, "the last 3 months of 2013-01 to 2013-12"),
        (TemporalSplit(kind="temporal", holdout="1d"), YEAR[:1], "the last day of 2013-01"),
        (TemporalSplit(kind="temporal", holdout="14d"), YEAR[:1], "the last 14 days of 2013-01"),
        (StratifiedSplit(kind="stratified"), ["all"], "20% at random"),
        (
            GroupedSplit(kind="grouped", column="customer"),
            ["all"],
            "20% at random, with all rows of one “customer” on the same side",
        ),
        (PredefinedSplit(kind="predefined", first=7000), ["all"], "all but the first 7,000"),
        (
            PredefinedSplit(kind="predefined", column="part", holdout=("test", "extra")),
            ["all"],
            "those where “part” is “test” or “extra”",
        ),
    ],
)
def test_report_describes_the_hold_out(split: Split, months: list[str], said: str) -> None:
    assert held_out(split, months) == said
