"""Models of earlier months on later ones: who is compared with whom, what a model may know, and when to retrain."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from contract.model.predictor import Predictor
from pipelines import paths
from pipelines.data import tables
from pipelines.machine import scratch
from pipelines.machine.blobs import Directory
from pipelines.models.engines.local import LocalEngine
from pipelines.params.params import Params, TemporalSplit
from pipelines.stages.features import stage as features
from pipelines.stages.screen import stage as screen
from pipelines.stages.staleness import ages, measured, models, stage
from pipelines.stages.staleness.ages import KEPT, LOST, UNDECIDED, Rule, Scored
from pipelines.stages.train import stage as train
from pipelines.statistics.tasks import judgement
from tests.pipelines.conftest import deliveries

MONTHS = ("2024-01", "2024-02", "2024-03", "2024-04", "2024-05")


def area(outcomes: Any, scores: Any) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(outcomes, scores))


def changed(raw: dict[str, Any], **evaluate: Any) -> Params:
    """Five months, of which the last is held out, and models of three cut-offs."""
    raw["data"]["months"] = list(MONTHS)
    del raw["features"]["depot_share"]  # its table is fitted on all months
    raw["train"] |= {"max_rounds": 20, "threads": 1}
    raw["evaluate"] |= {"staleness": {"models": 3, "months": 3}} | evaluate
    return Params.model_validate(raw)


def encoded(params: Params, directory: Path) -> None:
    for month in params.data.months:
        path = directory / "data" / "accepted" / f"{month}.parquet"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            days = {"2024-02": 29, "2024-04": 30}.get(month, 31)
            deliveries(datetime.strptime(month, "%Y-%m"), days, noise=0.1).write_parquet(path)
    features.run(params)


def found() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(paths.STALENESS.read_bytes())
    return content


def test_curve_has_every_age_with_its_difference_from_the_freshest_model(raw: dict[str, Any], workspace: Path) -> None:
    params = changed(raw)
    encoded(params, workspace)
    told, kept = stage.run(params, Directory(workspace / "kept")), found()
    assert told == kept["sentence"]
    assert "month" in told
    points = {(entry["trained_to"], entry["month"]): entry["age_months"] for entry in kept["curve"]}
    # Validation takes ten days of a month, so that one month is enough to learn from; the hold-out, May, is not looked at.
    assert points == {
        ("2024-01", "2024-02"): 1, ("2024-01", "2024-03"): 2, ("2024-01", "2024-04"): 3,
        ("2024-02", "2024-03"): 1, ("2024-02", "2024-04"): 2, ("2024-03", "2024-04"): 1,
    }  # fmt: skip
    assert all((entry["difference"] is None) == (entry["age_months"] == 1) for entry in kept["curve"])
    assert [(entry["age_months"], entry["months"]) for entry in kept["ages"]] == [
        (2, ["2024-03", "2024-04"]),
        (3, ["2024-04"]),
    ]
    for entry in [*kept["curve"], *kept["ages"]]:
        assert entry["lower_bound"] <= entry["figure"] <= entry["upper_bound"]


def test_models_are_those_that_train_would_have_made_and_know_no_later_month(
    raw: dict[str, Any], workspace: Path
) -> None:
    params, place = changed(raw), Directory(workspace / "kept")
    encoded(params, workspace)
    stage.run(params, place)
    first = found()
    kept = place.list()
    assert len(kept) == 3
    month = tables.read(paths.accepted("2024-04"))
    stage.run(params, place)
    assert place.list() == kept  # none was trained again
    assert found() == first
    # All outcomes of April are turned round: models of earlier months stay the same, and do badly.
    turned = month.with_columns(pl.col("outcome").replace({"kept": "broken", "broken": "kept"}))
    turned.write_parquet(paths.accepted("2024-04"))
    features.run(params)
    stage.run(params, place)
    assert place.list() == kept
    assert found()["curve"][2]["figure"] == pytest.approx(1 - first["curve"][2]["figure"])
    # What `train` makes of the months up to March, when April was held out.
    raw["data"]["months"] = list(MONTHS[:4])
    early = Params.model_validate(raw)
    features.run(early)
    screen.run(early)
    train.run(early)
    model = Predictor.load(paths.BOOSTED)
    table = tables.read(paths.accepted("2024-04")).drop_nulls("outcome")
    scores = model.score_table(tables.columns_of(table, [field.name for field in model.schema.fields]))
    expected = area(1 - (table["outcome"] == "broken").to_numpy(), scores)
    assert first["curve"][-1]["figure"] == pytest.approx(expected)


def test_rows_of_one_model_and_its_pages_lie_in_the_scratch_and_go_before_the_next(
    raw: dict[str, Any], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw["train"] |= {"memory": "external"}
    params = changed(raw)
    encoded(params, workspace)
    place, seen = workspace / "scratch", []
    grown = LocalEngine.grow

    def grow(*arguments: Any) -> Any:
        reached = grown(*arguments)
        rows = {path.parent for path in place.rglob("*.parquet")}
        pages = [path for path in place.rglob("*") if path.is_file() and path.parent.parent == place]
        seen.append((len(rows), bool(pages)))
        return reached

    monkeypatch.setattr(LocalEngine, "grow", grow)
    stage.run(params, scratch=lambda: scratch.directory(place))
    assert set(seen) == {(1, True)}
    assert list(place.iterdir()) == []


def test_other_settings_are_other_models(raw: dict[str, Any], workspace: Path) -> None:
    place = Directory(workspace / "kept")
    params = changed(raw)
    encoded(params, workspace)
    stage.run(params, place)
    raw["train"] |= {"threads": 2}
    stage.run(Params.model_validate(raw), place)
    assert len(place.list()) == 3
    raw["train"] |= {"learning_rate": 0.9}
    stage.run(Params.model_validate(raw), place)
    assert len(place.list()) == 6


def test_models_are_the_same_whatever_cluster_grows_them(raw: dict[str, Any], workspace: Path) -> None:
    params = changed(raw)
    encoded(params, workspace)
    found = []
    for more in ({"scheduler": "tcp://10.0.0.5:8786"}, {"scheduler": None}, {"scheduler": None, "workers": 3}):
        raw["train"] |= {"engine": "dask"} | more
        found.append(measured.identity(Params.model_validate(raw)))
    assert found[0] == found[1] != found[2]


def test_oldest_models_go_when_many_are_kept(workspace: Path) -> None:
    from pipelines.models.engines.checkpoints import Checkpoint, Checkpoints

    place = Directory(workspace / "kept")
    for number in range(5):
        Checkpoints(place).of({"model": number}).keep(Checkpoint((None,), b"model"))
        (path,) = (workspace / "kept" / Checkpoints().of({"model": number}).folder).iterdir()
        os.utime(path, (number, number))
    used = Checkpoints(place)
    assert used.of({"model": 0}).newest().model == b"model"
    used.keep_newest(3)
    left = {number for number in range(5) if Checkpoints(place).of({"model": number}).newest().model}
    assert left == {0, 3, 4}


def test_nothing_is_measured_unless_asked_for(raw: dict[str, Any], workspace: Path) -> None:
    assert stage.run(changed(raw, staleness=None)) == f"not measured: {stage.OFF}"
    assert found()["sentence"] is None


def test_too_few_months_are_an_honest_nothing(raw: dict[str, Any], workspace: Path) -> None:
    changed(raw)
    raw["data"]["months"] = ["2024-01", "2024-02", "2024-03"]
    encoded(params := Params.model_validate(raw), workspace)
    told = stage.run(params)
    assert "2 of the 3 months have rows outside of the hold-out, and 3 are needed" in told
    assert found()["ages"] == []


def test_a_validation_that_leaves_nothing_to_train_on_is_an_honest_nothing(
    raw: dict[str, Any], workspace: Path
) -> None:
    raw["split"]["validation"] = "2mo"
    params = changed(raw)
    encoded(params, workspace)
    assert "split.validation, with its gap, leaves 1 models that have a later month" in stage.run(params)
    assert found()["because"].endswith("or shorten split.validation")


def test_months_that_lack_a_label_are_left_out(raw: dict[str, Any], workspace: Path) -> None:
    params = changed(raw)
    path = workspace / "data" / "accepted" / "2024-01.parquet"
    path.parent.mkdir(parents=True)
    table = deliveries(datetime(2024, 1, 1), 31)
    table.with_columns(pl.lit("kept").alias("outcome")).write_parquet(path)
    encoded(params, workspace)
    stage.run(params)
    assert found()["left_out"] == [{"trained_to": "2024-01", "because": "no row to train on has the label 'broken'"}]
    assert {entry["trained_to"] for entry in found()["curve"]} == {"2024-02", "2024-03"}


@pytest.mark.parametrize(
    ("staleness", "split", "told"),
    [
        ({}, {"kind": "stratified"}, "evaluate.staleness needs split.kind temporal"),
        ({"models": 2, "months": 3}, None, "months: 3 needs as many models"),
    ],
)
def test_bad_settings_are_refused_with_the_key(
    raw: dict[str, Any], staleness: dict[str, Any], split: dict[str, Any] | None, told: str
) -> None:
    raw["split"] = split or raw["split"]
    with pytest.raises(ValueError, match=told):
        changed(raw, staleness=staleness)


def test_cut_offs_are_the_newest_that_leave_rows_to_train_on() -> None:
    split = TemporalSplit(kind="temporal", validation="1mo")
    found = models.cut_offs(MONTHS, split, 2)
    assert [(at.trained_to, at.first) for at in found] == [("2024-03", "2024-04"), ("2024-04", "2024-05")]
    assert [at.first for at in models.cut_offs(MONTHS, split, 9)] == ["2024-03", "2024-04", "2024-05"]
    assert models.cut_offs(MONTHS[:2], split, 9) == []
    # The month that would validate for April lies in a hole.
    assert [at.first for at in models.cut_offs(("2024-01", "2024-02", "2024-04", "2024-05"), split, 9)] == ["2024-05"]


def scored(trained_to: str, month: str, flipped: float) -> Scored:
    """A month of 30 days with 40 rows each; a share of the scores is turned round."""
    random = np.random.default_rng(int(month[-2:]))
    outcomes = random.integers(0, 2, 1200).astype(np.int8)
    turned = random.random(1200) < flipped
    scores = np.where(turned, 1 - outcomes, outcomes) + random.normal(0, 0.3, 1200)
    return Scored(trained_to, month, outcomes, scores, 100 * int(month[-2:]) + np.repeat(np.arange(30), 40))


def rule(raw: dict[str, Any], margin: float = 0.01, fewest: int = 20) -> Rule:
    return Rule(judgement(Params.model_validate(raw).target), margin, fewest, 200, 1)


def test_months_of_an_age_are_compared_together(raw: dict[str, Any]) -> None:
    old, fresh = [scored("2024-01", "2024-03", 0.3), scored("2024-02", "2024-04", 0.3)], [
        scored("2024-02", "2024-03", 0.1), scored("2024-03", "2024-04", 0.1),
    ]  # fmt: skip
    _, by_age = ages.curve([*old, *fresh], rule(raw))
    (entry,) = by_age
    outcomes = np.concatenate([each.outcomes for each in old])
    areas = [area(outcomes, np.concatenate([each.scores for each in models])) for models in (old, fresh)]
    assert entry["figure"] == pytest.approx(areas[0] - areas[1])
    assert (entry["clusters"], entry["rows"], entry["verdict"]) == (60, 2400, LOST)
    assert ages.curve([*old, *fresh], rule(raw, fewest=61))[1][0]["verdict"] == UNDECIDED


def test_a_month_of_one_label_has_no_area_and_is_left_out(raw: dict[str, Any]) -> None:
    one = scored("2024-01", "2024-02", 0.1)
    alone = Scored(one.trained_to, one.month, np.ones_like(one.outcomes), one.scores, one.clusters)
    assert ages.curve([alone], rule(raw)) == ([], [])


@pytest.mark.parametrize(
    ("verdicts", "every", "told"),
    [
        ((KEPT, LOST, KEPT), 2, "Retrain every 2 months: a model in its 3rd month loses more than 0.01 ROC-AUC"),
        ((LOST,), 1, "Retrain every month: a model in its 2nd month loses more"),
        ((KEPT, KEPT), 3, "Retrain every 3 months, or more rarely: up to its 3rd month"),
        ((KEPT, UNDECIDED, KEPT), 2, "Retrain every 2 months: from its 3rd month on these rows leave open"),
        ((UNDECIDED, LOST), 2, "Retrain every 2 months: a model in its 3rd month loses more"),
    ],
)
def test_sentence_says_what_the_ages_show(
    raw: dict[str, Any], verdicts: tuple[str, ...], every: int, told: str
) -> None:
    by_age = [{"age_months": age, "verdict": verdict} for age, verdict in enumerate(verdicts, start=2)]
    found, sentence = ages.sentence(by_age, rule(raw))
    assert found == every
    assert sentence.startswith(told)
