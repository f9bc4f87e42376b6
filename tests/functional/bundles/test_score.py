"""The evidence of the ML Test Score: what a run of two months shows, and that each piece fails when it is gone or says the contrary."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contract.files import canonical_json
from drills.score import evidence, studies
from drills.score.checks import NotShownError
from pipelines import paths
from pipelines.data.training import Rows
from pipelines.models.tuning import BETTER, NO_BETTER
from pipelines.params import file
from pipelines.stages.staleness.ages import LOST, UNDECIDED
from pipelines.stages.tune import search


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> Path:
    """The results that the evidence reads, without the data."""
    for path in (Path("params.yaml"), paths.MODELS, paths.REPORTS, paths.BUNDLE):
        if (project / path).is_dir():
            shutil.copytree(project / path, tmp_path / path)
        else:
            shutil.copy(project / path, tmp_path / path)
    return tmp_path


def _change(path: Path, change: Callable[[dict], object]) -> None:
    found = json.loads(path.read_bytes())
    change(found)
    path.chmod(0o644)
    path.write_text(json.dumps(found))


def test_run_of_two_months_shows_what_the_rubric_asks_of_it(copy: Path) -> None:
    assert "expectations" in evidence.expectations(copy)
    assert "none above ROC-AUC" in evidence.screened(copy)
    assert "approved" in evidence.approved(copy)
    assert "golden requests" in evidence.stepwise(copy)
    assert "finite" in evidence.finite(copy)
    assert "better than the linear baseline" in evidence.gate_passed("better than the linear baseline")(copy)


def test_expectation_that_failed_or_is_not_there_is_named(copy: Path) -> None:
    month = next(iter(json.loads((copy / paths.VALIDATION).read_bytes())))

    def without_distance(found: dict) -> None:
        found[month]["expectations"] = [
            entry for entry in found[month]["expectations"] if entry["column"] != "distance"
        ]

    _change(copy / paths.VALIDATION, without_distance)
    with pytest.raises(NotShownError, match=f"{month}: no expectation of distance"):
        evidence.expectations(copy)


def test_strong_feature_is_named(copy: Path) -> None:
    _change(copy / paths.SCREENING, lambda found: found["features"]["carrier"].update(auc=0.9))
    with pytest.raises(NotShownError, match="alone: carrier"):
        evidence.screened(copy)


def test_gate_that_did_not_decide_is_not_passed(copy: Path) -> None:
    _change(copy / paths.GATES, lambda found: [check.update(verdict="undecided") for check in found["checks"]])
    with pytest.raises(NotShownError, match="undecided"):
        evidence.gate_passed("better than the linear baseline")(copy)
    with pytest.raises(NotShownError, match="another evaluation"):
        evidence.approved(copy)


def test_slices_are_judged_and_a_gap_above_its_limit_is_said(copy: Path) -> None:
    assert "none failed" in evidence.slices(copy)
    with pytest.raises(NotShownError, match="no column is marked `protected`"):
        evidence.fairness(copy)
    gaps = {"rate": {"verdict": "failed"}, "error_rate": {"verdict": "passed"}}
    _change(copy / paths.GATES, lambda found: found.update(fairness=[{"gaps": gaps}], slices={"slices": []}))
    with pytest.raises(NotShownError, match="1 of 2 gaps"):
        evidence.fairness(copy)
    with pytest.raises(NotShownError, match="judges no slice"):
        evidence.slices(copy)


def test_answer_that_the_steps_do_not_give_is_named(copy: Path) -> None:
    golden = copy / paths.BUNDLE / "src/bundle/golden.json"
    cases = json.loads(golden.read_bytes())
    cases[3]["answer"] = cases[4]["answer"] | {"probability": 0.123}
    golden.chmod(0o644)
    golden.write_text(json.dumps(cases))
    with pytest.raises(NotShownError, match="golden request 3"):
        evidence.stepwise(copy)


@pytest.fixture
def study(copy: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A search on this table, kept by a person, as `evidence` reads it."""
    (copy / "data").symlink_to(project / "data")
    kept = copy / "studies.json"
    monkeypatch.setattr(studies, "FILE", kept)
    monkeypatch.chdir(copy)
    made = search.identity(file.load(), Rows(paths.TRAINING_ROWS)) | {"code": "that of last week"}
    grounds = {"trials": [{}] * 20, "evidence": {"clusters": 21}}
    entry = {"verdict": NO_BETTER, "parameters": {}, "study": made} | grounds
    kept.write_bytes(canonical_json({"tuning": entry}))
    return entry


def test_search_that_found_nothing_better_counts_for_its_table_and_settings(study: dict[str, Any], copy: Path) -> None:
    assert evidence.tuned(copy) == "kept study: 20 trials over 21 days, entities or rows: no better than the defaults"
    with pytest.raises(NotShownError, match=r"no models of earlier months: .*, and studies.json has none"):
        evidence.staleness(copy)
    params = (copy / "params.yaml").read_text()
    (copy / "params.yaml").write_text(params.replace("learning_rate: 0.05", "learning_rate: 0.3"))
    with pytest.raises(NotShownError, match=r"studies.json had other settings"):
        evidence.tuned(copy)
    (copy / "params.yaml").write_text(params)
    _change(copy / "studies.json", lambda found: found["tuning"]["study"].update(data="that of last year"))
    with pytest.raises(NotShownError, match=r"studies.json had other data"):
        evidence.tuned(copy)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"verdict": BETTER, "parameters": {"max_depth": 4}}, "better settings than those of params.yaml: max_depth=4"),
        ({"trials": [{}] * 19}, "19 trials"),
        ({"evidence": {"clusters": 19}}, "over 19 days"),
    ],
)
def test_search_that_found_better_settings_or_decided_nothing_does_not_count(
    study: dict[str, Any], copy: Path, found: dict[str, Any], told: str
) -> None:
    _change(copy / "studies.json", lambda kept: kept["tuning"].update(found))
    with pytest.raises(NotShownError, match=told):
        evidence.tuned(copy)


@pytest.mark.parametrize("kept", [False, True])
def test_staleness_is_shown_by_an_age_that_is_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    monkeypatch.setattr(evidence, "_asked_there", lambda *_: {"staleness": []})
    monkeypatch.setattr(studies, "FILE", tmp_path / "studies.json")

    def measure(*verdicts: str) -> None:
        study = {"sentence": "Retrain.", "ages": [{"verdict": verdict} for verdict in verdicts]}
        (tmp_path / "studies.json").write_text(json.dumps({"staleness": study} if kept else {}))
        (tmp_path / paths.STALENESS).parent.mkdir(exist_ok=True)
        (tmp_path / paths.STALENESS).write_text(json.dumps({"sentence": None, "because": "off"} if kept else study))

    measure(UNDECIDED, LOST)
    assert evidence.staleness(tmp_path) == ("kept study: Retrain." if kept else "Retrain.")
    measure(UNDECIDED, UNDECIDED)
    with pytest.raises(NotShownError, match=r"no age is decided: .*Retrain\."):
        evidence.staleness(tmp_path)


@pytest.mark.parametrize("told", [evidence.expectations, evidence.screened, evidence.tuned, evidence.finite])
def test_results_that_are_not_there_show_nothing(told: Callable[[Path], str], tmp_path: Path, project: Path) -> None:
    shutil.copy(project / "params.yaml", tmp_path)
    with pytest.raises(NotShownError, match="there is no "):
        told(tmp_path)


def test_study_is_kept_until_another_one_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept, search_of = (
        tmp_path / "studies.json",
        {"parameters": {}, "evidence": {}, "trials": [{}], "study": {"data": "1"}},
    )
    for path in (paths.TUNING, paths.STALENESS):
        path.parent.mkdir()
    kept.write_text("{}")
    paths.STALENESS.write_text('{"sentence": null, "because": "off"}')
    paths.TUNING.write_text(json.dumps(search_of | {"verdict": NO_BETTER, "start": {}}))
    studies.main([str(kept), "--keep"])
    assert json.loads(kept.read_bytes()) == {"tuning": search_of | {"verdict": NO_BETTER}}
    paths.TUNING.write_text('{"verdict": "off", "parameters": {}}')
    paths.STALENESS.write_text('{"sentence": "Retrain.", "ages": [], "study": {}, "curve": []}')
    studies.main([str(kept), "--keep"])
    assert json.loads(kept.read_bytes()) == {
        "tuning": search_of | {"verdict": NO_BETTER},
        "staleness": {"sentence": "Retrain.", "ages": [], "study": {}},
    }


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["keep"], "No such file or directory: 'keep'"),
        (["there.json", "--keep"], "No such file or directory: 'models/tuning.json'"),
        (["there.json"], "params.yaml"),
        (["there.json", "more"], "unrecognized arguments: more"),
    ],
)
def test_what_studies_lack_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.json").write_text("{}")
    with pytest.raises(SystemExit):
        studies.main(arguments)
    assert told in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"]


def test_unknown_study_is_named(
    study: dict[str, Any], copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _change(copy / "studies.json", lambda found: found.update(astrology=found["tuning"]))
    with pytest.raises(SystemExit):
        studies.main([str(copy / "studies.json")])
    assert "unknown study 'astrology'; known are staleness, tuning" in capsys.readouterr().err
