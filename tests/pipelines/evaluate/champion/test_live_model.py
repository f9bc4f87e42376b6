"""The live model is compared where it reads what it is shown and has not learned it, and else a person is asked."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Callable
from contextlib import chdir, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contract.errors import EXIT_DATA, DataRejectedError, ModelRejectedError
from contract.files import canonical_json, write_atomically
from contract.model.compatibility import misread
from contract.schema.schema import FeatureSchema, Field
from pipelines import paths
from pipelines.data import splits, tables
from pipelines.params.params import Params
from pipelines.stages.evaluate import stage as evaluate
from pipelines.stages.features import stage as features
from pipelines.stages.screen import stage as screen
from pipelines.stages.train import stage as train
from pipelines.statistics.comparable import obstacles
from tests.pipelines.conftest import RAW, deliveries, write_months

DIGEST = "1e" * 32
CHANCE = {"kind": "stratified", "holdout": 0.3, "validation": 0.1}
WHOLE = RAW["data"] | {"months": ["all"], "time": None}
Raw = dict[str, Any]
Change = Callable[[Raw], None]


def _judge(raw: Raw) -> dict[str, Any]:
    """Train and evaluate; returns the approval."""
    params = Params.model_validate(raw)
    features.run(params)
    with suppress(DataRejectedError):  # the distance tells all; the report is written whatever the outcome
        screen.run(params)
    train.run(params)
    said = evaluate.run(params)
    return _approval() | {"said": said}


def _approval() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(paths.GATES.read_bytes())
    return found


def _set_live(digest: str | None, learned: Any = None) -> None:
    """What the stage `champion` writes, of the model that was trained last."""
    if digest:
        for name in ("model.onnx", "schema.json"):
            write_atomically(paths.CHAMPION / name, (paths.BOOSTED / name).read_bytes())
    write_atomically(paths.CHAMPION / "champion.json", canonical_json({"digest": digest, "learned": learned}))


def _live_in(directory: Path, raw: Raw) -> Path:
    with chdir(directory):
        write_months(directory)
        tables.write(tables.read_partitions(RAW["data"]["months"]), paths.accepted("all"))
        _set_live(None)
        _set_live(DIGEST, _judge(raw)["learned"])
    return directory


@pytest.fixture(scope="module")
def by_time(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _live_in(tmp_path_factory.mktemp("time"), RAW)


@pytest.fixture(scope="module")
def by_chance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _live_in(tmp_path_factory.mktemp("chance"), RAW | {"split": CHANCE, "data": WHOLE})


@pytest.fixture
def timed(by_time: Path, workspace: Path) -> Path:
    shutil.copytree(by_time, workspace, dirs_exist_ok=True)
    return workspace


@pytest.fixture
def chanced(by_chance: Path, workspace: Path, raw: Raw) -> Raw:
    shutil.copytree(by_chance, workspace, dirs_exist_ok=True)
    return raw | {"split": dict(CHANCE), "data": raw["data"] | {"months": ["all"], "time": None}}


def _held(raw: Raw) -> str:
    with pytest.raises(ModelRejectedError, match="held until a person decides") as caught:
        _judge(raw)
    assert caught.value.exit_code == EXIT_DATA
    assert (_approval()["verdict"], _approval()["approved"]) == ("held", False)
    counted = json.loads(paths.METRICS.read_bytes())["checks"]
    assert (counted["not_compared"], counted["undecided"], counted["failed"]) == (1, 0, 0)
    page = paths.EVALUATION.read_text()
    assert "Held until a person decides" in page
    assert f"NOT compared with the live model {DIGEST[:12]}" in page
    assert "no model has seen" not in page
    return str(caught.value)


def _column(name: str, **changes: Any) -> Change:
    return lambda raw: raw["data"]["columns"][name].update(changes)


def _without_weight(raw: Raw) -> None:
    for feature in ("weight", "per_kg"):
        del raw["features"][feature]


def _as_identifier(raw: Raw) -> None:
    _without_weight(raw)
    raw["data"]["columns"]["weight"] = {"kind": "identifier", "required": False, "missing": 0.5}


def _gone(raw: Raw) -> None:
    _without_weight(raw)
    del raw["data"]["columns"]["weight"]


def _swapped(raw: Raw) -> None:
    raw["target"]["labels"] = ["broken", "kept"]


def _renamed(raw: Raw) -> None:
    raw["target"]["column"] = "result"


def _number(raw: Raw) -> None:
    raw["target"] = {"column": "outcome", "task": "regression"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_as_identifier, "field 'weight': its kind is 'number', that of data.columns 'identifier'"),
        (_column("distance", unit="mi"), "field 'distance': its unit is 'km', that of data.columns 'mi'"),
        (_column("distance", maximum=200), "field 'distance': its maximum is 100.0, that of data.columns 200.0"),
        (_column("weight", minimum=None), "field 'weight': its minimum is 0.0, that of data.columns None"),
        (_column("depot", required=False, missing=0.0), "field 'depot': its required is True"),
        (_gone, "field 'weight': it reads this field, which params.yaml no longer has"),
        (_swapped, "its target has the labels ('kept', 'broken'), that of params.yaml ('broken', 'kept')"),
        (_renamed, "its target has the name 'outcome', that of params.yaml 'result'"),
        (_number, "its task is binary, that of params.yaml regression"),
    ],
)
def test_live_model_cannot_be_judged_on_what_it_reads_otherwise(
    by_time: Path, raw: Raw, change: Change, reason: str
) -> None:
    live = FeatureSchema.from_bytes((by_time / paths.CHAMPION / "schema.json").read_bytes())
    params = Params.model_validate(raw)
    assert obstacles(live, params.data, params.target, params.features) == []
    change(raw)
    params = Params.model_validate(raw)
    assert reason in str(obstacles(live, params.data, params.target, params.features)[0])


def test_attribute_of_a_field_counts_whatever_it_stands_for() -> None:
    @dataclass(frozen=True)
    class Wider(Field):
        zone: str = "local"

    here, there = Wider("at", "timestamp"), Wider("at", "timestamp", zone="utc", description="else", pii=True)
    assert misread(here, there) == {"zone": ("local", "utc")}


def test_model_is_held_when_the_live_one_does_not_read_what_is_declared_now(timed: Path, raw: Raw) -> None:
    _as_identifier(raw)
    said = _held(raw)
    assert "not compared, because field 'weight': its kind is 'number'" in said
    assert f'gates.replaces: "{DIGEST[:12]}"' in said


def test_model_is_compared_when_what_differs_does_not_matter(timed: Path, raw: Raw) -> None:
    columns = raw["data"]["columns"]
    columns["distance"] |= {"description": "from the depot", "maximum": 99.5, "pii": True, "tolerance": 0.5}
    columns["note"] = {"kind": "category", "required": False}
    for month in raw["data"]["months"]:
        path = paths.accepted(month)
        tables.write(tables.read(path).with_columns(note=pl.lit("fragile")), path)
    raw["target"]["threshold"] = 0.3
    raw["train"]["max_depth"] = 4
    assert [check["verdict"] for check in _judge(raw)["checks"]] == ["passed"] * 3
    assert "champion" in json.loads(paths.METRICS.read_bytes())["against"]


def test_model_that_was_not_compared_is_approved_when_a_person_names_the_live_one(timed: Path, raw: Raw) -> None:
    _swapped(raw)
    raw["gates"]["replaces"] = "0f" * 6
    _held(raw)
    raw["gates"]["replaces"] = DIGEST[:12]
    found = _judge(raw)
    assert (found["verdict"], found["champion"]) == ("approved", DIGEST)
    assert found["checks"][-1]["verdict"] == "not compared"
    assert found["checks"][-1]["accepted"] is True
    assert "accepted by gates.replaces" in paths.EVALUATION.read_text()
    assert "champion" not in json.loads(paths.METRICS.read_bytes())["against"]


def test_first_model_needs_no_person(timed: Path, raw: Raw) -> None:
    _set_live(None)
    assert _judge(raw)["verdict"] == "approved"
    assert "no live model to compare with" in paths.EVALUATION.read_text()


def test_model_is_held_when_the_live_one_cannot_be_read(timed: Path, raw: Raw) -> None:
    write_atomically(paths.CHAMPION / "schema.json", b"{}")
    assert "not compared, because it cannot be read by this version" in _held(raw)


def test_model_is_held_when_the_live_one_does_not_say_what_it_has_learned(timed: Path, raw: Raw) -> None:
    _set_live(DIGEST)
    assert "its manifest does not say which rows it has learned from" in _held(raw)


def test_model_of_an_older_month_is_held_when_the_live_one_has_learned_that_month(timed: Path, raw: Raw) -> None:
    raw["data"]["months"] = ["2024-01", "2024-02"]
    assert "it has learned from 568 of the 568 rows of the hold-out" in _held(raw)


def test_model_of_a_newer_month_is_compared(timed: Path, raw: Raw) -> None:
    raw["data"]["months"].append("2024-04")
    tables.write(deliveries(datetime(2024, 4, 1), 30), paths.accepted("2024-04"))
    found = _judge(raw)["checks"][-1]
    assert (found["verdict"], found["clusters"], found["unit"]) == ("passed", 30, "days")


@pytest.mark.parametrize(
    ("section", "changed"),
    [
        ("split", CHANCE | {"seed": 7}),
        ("split", {"kind": "predefined", "column": "depot", "holdout": ["south"]}),
        ("data", WHOLE | {"key": []}),
    ],
)
def test_model_is_held_when_the_split_is_another_than_that_of_the_live_one(
    chanced: Raw, section: str, changed: Raw
) -> None:
    chanced[section] = changed
    assert "rows of the hold-out (its split differed" in _held(chanced)


def test_model_is_compared_on_the_whole_hold_out_when_only_an_unused_column_was_added(chanced: Raw) -> None:
    chanced["data"]["columns"] = {"note": {"kind": "category", "required": False}} | chanced["data"]["columns"]
    table = tables.read(paths.accepted("all"))
    tables.write(table.select(pl.int_range(pl.len()).cast(pl.String).alias("note"), pl.all()), paths.accepted("all"))
    found = _judge(chanced)["checks"][-1]
    assert (found["verdict"], "unseen" in found) == ("passed", False)
    assert found["figure"] == 0


def test_model_is_compared_on_the_rows_that_the_live_one_has_not_learned_when_the_table_has_grown(
    chanced: Raw,
) -> None:
    table = tables.read(paths.accepted("all"))
    more = pl.concat([deliveries(datetime(2024, month, 1), 30) for month in (4, 5)])
    before = tables.read(paths.PARTS)[splits.PART]
    tables.write(pl.concat([table, more]), paths.accepted("all"))
    found = _judge(chanced)["checks"][-1]
    held = tables.read(paths.PARTS)[splits.PART] == splits.HOLDOUT
    learned = before.is_in([splits.TRAINING, splits.VALIDATION])
    learned_by_live = (held.head(table.height) & learned & table["outcome"].is_not_null()).sum()
    judged = json.loads(paths.METRICS.read_bytes())["holdout"]["rows"]
    assert (
        0 < learned_by_live < judged - found["rows"]
    )  # new rows near the bound may have been learned, for all that it tells
    assert found["unseen"] == pytest.approx(found["rows"] / judged)
    assert (
        f"{found['unseen']:.1%} of the hold-out that the live model was not trained on" in paths.EVALUATION.read_text()
    )
    assert "champion" not in json.loads(paths.METRICS.read_bytes())["against"]


def test_what_breaks_callers_of_the_live_model_is_in_evidence_report_and_log(timed: Path, raw: Raw) -> None:
    raw["data"]["columns"]["distance"]["maximum"] = 99.5
    raw["data"]["columns"]["weight"] |= {"unit": "kg"}
    raw["gates"]["replaces"] = DIGEST[:8]
    found = _judge(raw)
    assert found["breaks"] == [
        "field 'distance': maximum: 100.0 before, 99.5 now",
        "field 'weight': unit: none before, kg now",
    ]
    for place in (found["said"], html.unescape(paths.EVALUATION.read_text())):
        assert all(what in place for what in found["breaks"])


def test_suspected_leak_is_in_evidence_report_and_log_until_somebody_has_reviewed_it(timed: Path, raw: Raw) -> None:
    _set_live(None)
    found = _judge(raw)
    assert list(found["suspects"]) == ["distance"]
    page = paths.EVALUATION.read_text()
    assert "suspected leak: distance, alone it has ROC-AUC 1.0" in found["said"]
    assert "<li><strong>distance</strong></li>" in page  # how strong it is, the screening says, which has no bounds
    measured = paths.SCREENING.read_bytes()
    raw["gates"]["reviewed"] = ["distance"]
    assert _judge(raw)["suspects"] == {}
    assert "Suspected leaks" not in paths.EVALUATION.read_text()
    assert paths.SCREENING.read_bytes() == measured  # so that nothing is trained again for a review


def test_model_is_held_over_few_days_until_a_person_declares_that_they_are_enough(timed: Path, raw: Raw) -> None:
    _set_live(None)
    raw["split"] = {"kind": "temporal", "holdout": "4d", "validation": "10d"}
    with pytest.raises(ModelRejectedError, match=r"4 days, too few for bounds \(gates.clusters: 20\); undecided"):
        _judge(raw)
    assert _approval()["verdict"] == "held"
    assert (
        json.loads(paths.METRICS.read_bytes())["checks"]["undecided"] == 2
    )  # against the prior and the linear baseline
    raw["gates"]["clusters"] = 4
    assert _judge(raw)["verdict"] == "approved"
