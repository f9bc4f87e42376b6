"""The ledger of costs, the runs that it tells of, and what the cache saved of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.errors import EXIT_CONFIGURATION
from harness import PROJECT
from pipelines import __main__ as command
from pipelines.commands.costs import ledger, prices
from pipelines.commands.costs.ledger import Cost, Outcome, Process
from pipelines.commands.costs.runs import Graph, graph, names, runs, whole
from pipelines.machine import usage
from pipelines.params.params import Costs
from tests.pipelines.conftest import RAW

STAGES = {
    "declare": {"outs": ["declared.json"]},
    "collect": {"foreach": "${data.months}", "do": {"deps": ["declared.json"], "outs": ["months/${item}.parquet"]}},
    "train": {"deps": ["months", "train.py"], "outs": [{"model": {"persist": True}}]},
    "bundle": {"deps": ["model/weights"], "metrics": [{"metrics.json": {"cache": False}}]},
}
ALL = ["declare", "collect@01", "collect@02", "train", "bundle"]
RUN = "0a1b2c3d-100-"


@pytest.fixture
def stages() -> Graph:
    return graph(STAGES, ["01", "02"])


def process(
    run: int, stage: str, cpu_s: float, *targets: str, outcome: Outcome = "succeeded", by_dvc: bool = True
) -> Process:
    started = f"2026-01-01T00:00:{run:02}+00:00"
    return Process(f"{RUN}{run}", stage, started, targets if by_dvc else None, Cost(cpu_s, cpu_s, 10.0, 0.0), outcome)


def test_upstream_follows_files_and_the_folders_above_them(stages: Graph) -> None:
    assert stages.needed(["bundle"]) == ALL
    assert stages.needed(["collect"]) == ["declare", "collect@01", "collect@02"]
    assert stages.needed(["collect@02"]) == ["declare", "collect@02"]


def test_the_graph_of_the_pipeline_is_whole() -> None:
    stages = graph(yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"], ["2013-01", "2013-02"])
    needed = {stage.split("@")[0] for stage in stages.needed(["bundle"])}
    assert {
        "declare",
        "collect",
        "validate",
        "features",
        "screen",
        "train",
        "staleness",
        "champion",
        "evaluate",
    } < needed


def test_the_cache_saved_what_a_run_needed_and_did_not_run(stages: Graph) -> None:
    cold = [process(1, stage, cpu_s) for cpu_s, stage in enumerate(ALL, start=1)]
    _, second = runs([*cold, process(2, "bundle", 7)], stages)
    assert dict(second.spent) == {"bundle": Cost(7, 7, 10, 0)}
    assert {stage: cost and cost.cpu_s for stage, cost in second.saved.items()} == {
        "declare": 1, "collect@01": 2, "collect@02": 3, "train": 4,
    }  # fmt: skip
    assert second.total_saved.cpu_s == 10
    made = whole([second])
    assert made is not None
    assert made.cpu_s == 17


def test_a_saved_stage_counts_as_it_last_succeeded(stages: Graph) -> None:
    found = runs(
        [
            process(1, "train", 40),
            process(2, "train", 4, "train"),
            process(3, "train", 1, "train", outcome="killed"),
            process(4, "bundle", 1),
        ],
        stages,
    )
    saved = found[-1].saved["train"]
    assert saved is not None
    assert saved.cpu_s == 4
    assert found[-1].saved["declare"] is None


def test_a_run_that_failed_saved_nothing_beyond_the_failure(stages: Graph) -> None:
    (run,) = runs([process(1, "train", 3, outcome="failed")], stages)
    assert run.outcome == "failed"
    assert set(run.saved) == {"declare", "collect@01", "collect@02"}


def test_targets_limit_what_was_needed_and_a_stage_by_hand_needed_nothing(stages: Graph) -> None:
    asked, by_hand = runs([process(1, "declare", 1, "collect"), process(2, "train", 1, by_dvc=False)], stages)
    assert set(asked.saved) == {"collect@01", "collect@02"}
    assert (asked.label, by_hand.label) == ("dvc repro collect", "train")
    assert not by_hand.saved
    assert whole([asked, by_hand]) is None


def test_all_attempts_of_a_retried_stage_count_and_the_last_one_decides(stages: Graph) -> None:
    attempts = [process(1, "train", 3, outcome="killed"), process(1, "train", 5)]
    (run,) = runs(attempts, stages)
    assert run.outcome == "succeeded"
    assert run.spent["train"].cpu_s == 8


def test_stages_stand_in_the_order_of_dvc_yaml_and_other_commands_last(stages: Graph) -> None:
    found = runs([process(1, "publish", 1, by_dvc=False), process(2, "train", 1), process(2, "declare", 1)], stages)
    assert names(found, stages) == ["declare", "collect", "train", "bundle", "publish"]


def test_money_is_cpu_time_and_memory_over_time() -> None:
    asked = Costs(cpu_hour=2, gb_hour=10)
    assert prices.money(Cost(cpu_s=1800, wall_s=900, peak_mb=4000, gb_hours=1.0), asked) == pytest.approx(1 + 10)
    found = prices.of_predictions({"cpu_s_per_1000": 0.5, "memory_mb": 2000.0}, asked)
    assert found == {"cpu_s": 0.5, "money": pytest.approx(0.5 / 3600 * 2 + 2 * 0.5 / 3600 * 10)}
    assert prices.of_predictions({}, asked) is None


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_STAGE", "BULKHEAD_VAR", usage.RUN):
        monkeypatch.delenv(name, raising=False)
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    Path("params.yaml").write_text(yaml.safe_dump(RAW))
    return tmp_path


def test_a_process_is_recorded_with_its_children(project: Path) -> None:
    busy = "import time\nwhile time.process_time() < .3: pass"

    def work() -> int:
        return subprocess.run([sys.executable, "-c", busy], check=True).returncode

    assert usage.recorded("train", work) == 0
    (found,) = ledger.read(usage.ledger())
    assert (found.stage, found.outcome, found.targets) == ("train", "succeeded", None)
    assert found.cost.cpu_s >= 0.3
    assert found.cost.peak_mb > 5


def test_a_killed_process_leaves_what_was_known(project: Path) -> None:
    script = "import os, signal\nfrom pipelines.machine import usage\nusage.recorded('train', lambda: os.kill(os.getpid(), signal.SIGKILL))"
    subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": str(PROJECT)}, check=False)
    with usage.ledger().open("a") as stream:
        stream.write('{"process": "torn')
    (found,) = ledger.read(usage.ledger())
    assert (found.stage, found.outcome) == ("train", "killed")
    assert found.cost.cpu_s > 0


def test_a_failure_is_recorded_and_raised_again(project: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        usage.recorded("train", lambda: 1 // 0)
    assert usage.recorded("train", lambda: 65) == 65
    (found,) = ledger.read(usage.ledger())  # one process, its last line counts
    assert found.outcome == "failed"


def test_a_stage_does_not_fail_because_its_cost_cannot_be_written(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "var").write_text("a file")
    assert usage.recorded("train", lambda: 0) == 0
    assert "cannot be written" in capsys.readouterr().err


def test_the_command_prints_a_table_json_and_a_page(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    usage.recorded("train", lambda: 0)
    assert command.main(["costs"]) == 0
    printed = capsys.readouterr().out
    assert "CPU s by stage" in printed
    assert "1,000 predictions: unknown until a bundle is published." in printed
    page = (project / "reports/costs.html").read_text()
    assert "deliveries: costs of runs" in page
    assert "http" not in page  # it loads nothing else
    assert command.main(["costs", "--json"]) == 0
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert shown["prices"] == {"cpu_hour": 0.04, "gb_hour": 0.005, "currency": "USD"}
    assert shown["runs"][0]["stages"]["train"]["cpu_s"] > 0


def test_the_command_says_that_nothing_has_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["costs"]) == EXIT_CONFIGURATION
    assert "records no run; run the pipeline with `dvc repro` first" in capsys.readouterr().err
