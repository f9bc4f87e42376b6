"""The outcome of a run, from the lines that DVC and the stages print, and from the files that the stages write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contract.errors import ConfigurationError
from contract.files import canonical_json
from pipelines import paths
from pipelines.data.integrity import check as integrity
from pipelines.machine.progress import Months
from pipelines.runs.commands import environment_of, execute, repro
from pipelines.runs.outcomes import facts
from pipelines.runs.outcomes.outcome import PROGRESS, Progress, Stage, worst
from pipelines.runs.workspaces.opening import open_workspace
from pipelines.runs.workspaces.workspace import Workspace
from tests.pipelines.runs.conftest import repro_in, workspace_of


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def outcome_of(lines: list[str], code: int = 0, named: tuple[str, ...] = ("validate",)) -> Any:
    """The outcome of lines that come half a second after each other."""
    clock = Clock()
    progress = Progress(named, clock=clock)
    for line in lines:
        clock.now += 0.5
        progress.read(line)
    clock.now += 0.5
    progress.end(code)
    return json.loads(progress.outcome(code))


def test_months_of_stages_that_dvc_runs_month_by_month_or_at_once() -> None:
    outcome = outcome_of(
        [
            "Stage 'collect@2013-01' didn't change, skipping",
            "Running stage 'collect@2013-02':",
            "> python -m pipelines collect 2013-02",
            "Running stage 'validate':",
            "month 2013-01: validated, 26,105 rows, 1.2 s (1 of 2)",
            "month 2013-02: validated, 24,951 rows, 0.3 s (2 of 2)",
        ]
    )
    collect, validate = outcome["stages"]
    assert (collect["state"], collect["seconds"]) == ("ran", 1.5)
    assert collect["months"] == [
        {"month": "2013-01", "state": "unchanged", "seconds": 0.5, "lines": 1},
        {"month": "2013-02", "state": "ran", "seconds": 1.0, "lines": 2},
    ]
    assert validate["months"] == [
        {"month": "2013-01", "state": "ran", "seconds": 1.2, "lines": 5, "rows": 26105},
        {"month": "2013-02", "state": "ran", "seconds": 0.3, "lines": 6, "rows": 24951},
    ]
    assert (outcome["state"], outcome["seconds"]) == ("ran", 3.5)
    assert [(month["seconds"], month["lines"]) for month in outcome["months"]] == [(1.7, 1), (1.3, 2)]


def test_month_that_a_stage_tells_of_itself_is_timed_by_the_stage() -> None:
    """The first process collects the months after it too; DVC then only moves them to their places."""
    outcome = outcome_of(
        [
            "Running stage 'collect@2013-01':",
            "month 2013-01: collected, 7 rows, 0.9 s (1 of 2)",
            "month 2013-02: collected, 8 rows, 0.8 s (2 of 2)",
            "Running stage 'collect@2013-02':",
            "Stage 'validate' is cached - skipping run, checking out outputs",
        ]
    )
    months = outcome["stages"][0]["months"]
    assert [(month["seconds"], month["state"], month["lines"]) for month in months] == [
        (0.9, "ran", 2),
        (0.8, "ran", 3),
    ]


def test_run_is_unchanged_when_the_stage_asked_for_is_even_if_one_before_it_always_runs() -> None:
    lines = ["Running stage 'champion':", "Stage 'evaluate' didn't change, skipping"]
    assert outcome_of(lines, named=("evaluate",))["state"] == "unchanged"


def test_last_stage_has_failed_when_dvc_did() -> None:
    outcome = outcome_of(["Running stage 'collect@2013-01':", "Running stage 'collect@2013-02':"], code=65)
    assert outcome["state"] == outcome["stages"][0]["state"] == "failed"
    assert [month["state"] for month in outcome["stages"][0]["months"]] == ["ran", "failed"]


def test_outcomes_come_while_stages_run_but_not_more_than_one_a_second_for_months() -> None:
    clock, shown = Clock(), []
    progress = Progress(["validate"], shown.append, clock)
    progress.read("Running stage 'validate':")
    for number in range(1, 9):
        clock.now += 0.3
        progress.read(f"month 2013-0{number}: validated, 1 rows, 0.3 s ({number} of 8)")
    outcomes = [json.loads(line) for line in shown]
    assert [outcome["state"] for outcome in outcomes] == ["running"] * 3
    assert [len(outcome["stages"][0]["months"]) for outcome in outcomes] == [0, 4, 8]


def test_line_of_progress_is_understood_by_who_reads_it(capsys: pytest.CaptureFixture[str]) -> None:
    Months("validated", 12).tell("2013-03", 26105)
    (month,) = outcome_of(["Running stage 'validate':", capsys.readouterr().out])["months"]
    assert (month["month"], month["state"], month["rows"]) == ("2013-03", "ran", 26105)


@pytest.mark.parametrize(
    ("states", "expected"),
    [(["ran", "unchanged"], "ran"), (["ran", "refused", "running"], "refused"), ([], "unchanged")],
)
def test_state_of_all_is_the_worst(states: list[str], expected: str) -> None:
    assert worst(states) == expected


def test_month_that_broke_an_expectation_is_refused(tmp_path: Path) -> None:
    report = {month: {"rows": 5, "success": month != "2013-02"} for month in ("2013-01", "2013-02")}
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/validation.json").write_bytes(canonical_json(report))
    stage = Stage("validate", "failed")
    facts.complete(stage, tmp_path)
    assert {month: entry.state for month, entry in stage.months.items()} == {"2013-01": "ran", "2013-02": "refused"}
    assert stage.facts == {}


def test_stage_without_outputs_has_no_facts(tmp_path: Path) -> None:
    for name in ("validate", "features", "tune", "train", "evaluate", "bundle", "publish", "monitor", "own"):
        assert facts.facts_of(name, tmp_path) == {}
    (tmp_path / "models").mkdir()
    (tmp_path / "models/tuning.json").write_text("torn {")
    assert facts.facts_of("tune", tmp_path) == {}


def test_outcome_is_the_last_line_when_a_stage_runs_and_when_it_comes_from_the_cache(
    project: Path, workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    open_workspace(workspace)
    assert repro_in(workspace, "validate") == 0
    ran = json.loads(capfd.readouterr().out.splitlines()[-1])
    later = workspace_of(project, "later")
    open_workspace(later)
    assert repro_in(later, "validate") == 0
    cached = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert [outcome["state"] for outcome in (ran, cached)] == ["ran", "unchanged"]
    for outcome in (ran, cached):
        assert [month["month"] for month in outcome["months"]] == ["2013-01", "2013-02"]
        assert {month["state"] for month in outcome["months"]} == {outcome["state"]}
        assert [stage["stage"] for stage in outcome["stages"]] == ["collect", "validate"]


def test_outcome_names_the_stage_and_keeps_the_exit_code_when_it_fails(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    open_workspace(workspace, through="2013-04")
    environment = {**environment_of(workspace.project, workspace.var), PROGRESS: "1"}
    assert repro(workspace, ["evaluate"], environment) == 65
    outcomes = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith('{"stage"')]
    assert {outcome["state"] for outcome in outcomes[:-1]} == {"running"}
    assert outcomes[-1]["state"] == "failed"
    assert {stage["stage"]: stage["state"] for stage in outcomes[-1]["stages"]} == {
        "collect": "ran",
        "validate": "failed",
    }


@pytest.mark.parametrize(("code", "state"), [(0, "ran"), (75, "failed")])
def test_outcome_of_another_command_is_its_last_line(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], code: int, state: str
) -> None:
    open_workspace(workspace)
    environment = environment_of(workspace.project, workspace.var)
    assert execute(workspace, ["sh", "-c", f"echo said; exit {code}"], environment) == code
    said, outcome = capfd.readouterr().out.splitlines()
    assert said == "said"
    assert {key: json.loads(outcome)[key] for key in ("stage", "state")} == {"stage": "sh", "state": state}


def test_run_without_earlier_results_is_checked_without_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its import takes longer than some runs that have nothing to do."""
    monkeypatch.setattr(integrity, "places_of", lambda _: pytest.fail("DVC was imported"))
    assert integrity.check(tmp_path).checked == 0


def test_verdict_of_a_run_that_an_earlier_version_recorded_has_no_bounds(tmp_path: Path) -> None:
    approval = {"verdict": "approved", "headline": "roc_auc", "checks": [{"name": "leaks", "verdict": "passed"}]}
    for path, content in ((paths.GATES, approval), (paths.METRICS, {"roc_auc": 0.75})):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(canonical_json(content))
    assert facts.facts_of("evaluate", tmp_path) == {
        "verdict": "approved",
        "scores": {"roc_auc": 0.75},
        "checks": {"leaks": "passed"},
    }


def test_stage_that_is_none_is_refused_by_name(workspace: Workspace) -> None:
    open_workspace(workspace)
    with pytest.raises(
        ConfigurationError, match="no stage evalute, tran; its stages are collect, validate, evaluate, bundle"
    ):
        repro_in(workspace, "validate", "evalute", "tran")
    assert repro_in(workspace, "collect@2013-02") == 0
