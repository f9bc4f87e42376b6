"""From a table without time to the answers of its bundle: several labels, a number, and quantiles."""

from __future__ import annotations

import json
import shutil
import struct
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bentos.core import Core
from bentos.protocols.grpc.oip import InferenceService
from bentos.protocols.http.app import HttpApp
from bentos.protocols.http.pages.openapi import document
from bentos.protocols.oip.kinds import DATATYPES
from bentos.protos import oip_pb2
from bentos.rounds import Unscored
from contract.bundle import manifest
from contract.errors import ModelRejectedError
from contract.files import canonical_json, sha256, write_atomically
from contract.model.predictor import Predictor
from contract.schema.schema import FeatureSchema
from contract.store.store import Store
from pipelines import paths
from pipelines.commands.monitor import command as monitor
from pipelines.commands.publish import command as publish
from pipelines.data import splits, tables
from pipelines.params.params import Params
from pipelines.stages.bundle import stage as bundle
from pipelines.stages.champion import stage as champion
from pipelines.stages.evaluate import stage as evaluate
from pipelines.stages.features import stage as features
from pipelines.stages.screen import stage as screen
from pipelines.stages.train import stage as train
from pipelines.stages.tune import stage as tune
from tests.bentos.caller import Caller
from tests.pipelines.conftest import RAW

ROWS = 900
LABELS = ["ash", "beech", "cedar"]
STRATIFIED = {"kind": "stratified", "holdout": 0.3, "validation": 0.2}
GROUPED = {"kind": "grouped", "column": "forest", "holdout": 0.3, "validation": 0.2}
TARGETS = {
    "multiclass": ({"column": "kind", "task": "multiclass", "labels": LABELS}, STRATIFIED),
    "regression": ({"column": "price", "task": "regression", "unit": "EUR"}, GROUPED),
    "quantiles": ({"column": "price", "task": "quantiles", "quantiles": [0.1, 0.5, 0.9], "unit": "EUR"}, GROUPED),
}
LEVELS = ["0.1", "0.5", "0.9"]


def trees() -> pl.DataFrame:
    """What a tree is, and what it costs, depends on height and width together, which no line sees."""
    draw = np.random.default_rng(11)
    height, width, mossy = (
        draw.uniform(2, 40, ROWS).round(1),
        draw.uniform(1, 9, ROWS).round(1),
        draw.random(ROWS) < 0.4,
    )
    tall, wide = height > 20, width > 5
    kind = np.where(
        draw.random(ROWS) < 0.1, draw.integers(0, 3, ROWS), np.where(tall == wide, 0, np.where(mossy, 1, 2))
    )
    price = 200 + 900 * (tall == wide) + 60 * width + draw.normal(0, 25, ROWS)
    return pl.DataFrame(
        {
            "tree": [f"tree-{number:04}" for number in range(ROWS)],
            "forest": [f"forest-{number}" for number in draw.integers(0, 90, ROWS)],
            "height": height,
            "width": [None if number % 20 == 0 else float(width[number]) for number in range(ROWS)],
            "mossy": mossy,
            "bark": draw.choice(["rough", "smooth"], ROWS),
            "kind": [None if number % 60 == 0 else LABELS[code] for number, code in enumerate(kind)],
            "price": price.round(2),
        }
    )


@pytest.fixture(scope="module", params=TARGETS, ids=str)
def params(request: pytest.FixtureRequest) -> Params:
    target, split = TARGETS[request.param]
    columns = {
        "tree": {"kind": "identifier"},
        "forest": {"kind": "category"},
        "height": {"kind": "number", "unit": "m", "minimum": 0, "maximum": 60},
        "width": {"kind": "number", "required": False, "minimum": 0, "maximum": 12},
        "mossy": {"kind": "boolean"},
        "bark": {"kind": "category"},
    }
    data = {"source": RAW["data"]["source"], "months": ["all"], "key": ["tree"], "columns": columns}
    used = {
        "height": {"transform": "value"},
        "width": {"transform": "value"},
        "mossy": {"transform": "value"},
        "bark": {"transform": "category"},
    }
    changes = {"name": "trees", "data": data, "target": target | {"missing": 0.1}, "split": split, "features": used}
    return Params.model_validate(RAW | changes | {"evaluate": {"slices": [{"column": "bark"}], "bootstrap": 200}})


@pytest.fixture(scope="module")
def bundled(params: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which everything up to `bundle` has run."""
    directory = tmp_path_factory.mktemp(params.target.judged_by.name)
    with chdir(directory), pytest.MonkeyPatch.context() as patch:
        patch.setenv("BULKHEAD_STORE", str(directory / "store"))
        table = trees().drop({"kind", "price"} - {params.target.column})
        for path in (paths.partition("all"), paths.accepted("all")):
            tables.write(table, path)
        _judge(params)
        _bundle(params)
    return directory


@pytest.fixture
def judged(bundled: Path, workspace: Path) -> Path:
    """A copy of it, to work in."""
    shutil.copytree(bundled, workspace, dirs_exist_ok=True)
    return workspace


def _judge(params: Params) -> str:
    rows = tables.height(paths.accepted("all"))
    digests = {"partition_sha256": sha256(paths.partition("all")), "partition_md5": "0" * 32}
    write_atomically(paths.VALIDATION, canonical_json({"all": {"rows": rows, "split_rows": 0, **digests}}))
    for stage in (features, screen, tune, train, champion):
        stage.run(params)
    return evaluate.run(params)


def _bundle(params: Params) -> None:
    bundle.run(params)


def test_model_is_judged_by_the_measures_of_its_task(judged: Path, params: Params) -> None:
    measured = json.loads(paths.METRICS.read_bytes())
    against = measured["against"]
    if params.target.task == "multiclass":
        assert measured["log_loss"] < against["linear"]["log_loss"] < against["prior"]["log_loss"]
        assert measured["accuracy"] > 0.8
        assert measured["roc_auc"] > 0.9
        assert against["prior"]["roc_auc"] == 0.5
        drawn = {"roc", "pr", "confusion", "calibration", "importance"}
    elif params.target.task == "quantiles":
        losses = [found["pinball_loss"] for found in (measured, against["linear"], against["prior"])]
        assert losses == sorted(losses)
        assert losses[0] < losses[1] / 2
        covered = {level: measured[f"coverage: {level}"] for level in LEVELS}
        assert covered == {level: pytest.approx(float(level), abs=0.15) for level in LEVELS}
        drawn = {"predicted", "residuals", "calibration", "importance"}
        assert "share of outcomes up to the quantile" in paths.EVALUATION.read_text()
    else:
        assert measured["rmse"] < 150 < against["linear"]["rmse"] < against["prior"]["rmse"]
        assert against["prior"]["r2"] == pytest.approx(0, abs=0.05)
        drawn = {"predicted", "residuals", "calibration", "importance"}
    assert "months" not in measured["holdout"]
    lines = {path.stem: len(path.read_text().splitlines()) for path in paths.PLOTS.iterdir()}
    assert {name for name, count in lines.items() if count > 1} == drawn
    assert min(lines.values()) == 1  # what the task does not have: a head without rows
    page = paths.EVALUATION.read_text()
    assert page.count("<svg") == 4
    assert "Approved" in page
    slices = json.loads(paths.GATES.read_bytes())["slices"]["slices"]
    assert {entry["value"] for entry in slices if entry["by"] == "bark"} == {"rough", "smooth"}


def test_gate_resamples_entities_where_the_split_has_them_else_rows(judged: Path, params: Params) -> None:
    checks = json.loads(paths.GATES.read_bytes())["checks"]
    held = tables.read_partitions(["all"]).filter(tables.read(paths.PARTS)[splits.PART] == splits.HOLDOUT)
    held = held.drop_nulls(params.target.column)
    unit, count = ("entities", held["forest"].n_unique()) if params.split.kind == "grouped" else ("rows", held.height)
    assert [(check["unit"], check["clusters"]) for check in checks] == [(unit, count)] * 2
    assert all(check["lower_bound"] < check["figure"] < check["upper_bound"] <= 1 for check in checks)


def test_everything_is_the_same_when_run_again(judged: Path, params: Params) -> None:
    names = [path for path in sorted(judged.rglob("*")) if path.is_file()]
    before = [path.read_bytes() for path in names]
    _judge(params)
    _bundle(params)
    assert [path.read_bytes() for path in names] == before


def test_bundle_gives_its_golden_answers_over_both_protocols(judged: Path, params: Params) -> None:
    core = Core.load(paths.BUNDLE)
    golden = json.loads((paths.BUNDLE / manifest.ARTIFACT / "golden.json").read_bytes())
    rows, answers = [case["row"] for case in golden], [case["answer"] for case in golden]
    assert json.loads(_post(core, "/predict", {"rows": rows}))["predictions"] == answers
    asked = {"inputs": [_tensor(field, rows) for field in core.schema.fields]}
    named = {
        output["name"]: np.reshape(output["data"], output["shape"]).tolist()
        for output in json.loads(_post(core, f"/v2/models/{core.name}/infer", asked))["outputs"]
    }
    request = oip_pb2.ModelInferRequest(model_name=core.name)
    for field in core.schema.fields:
        _add(request, field, rows)
    unscored = InferenceService(core).model_infer(request)
    assert isinstance(unscored, Unscored)
    response: Any = unscored.answer(*core.rounds.alone(unscored.columns)())
    assert [list(output.shape) for output in response.outputs] == [
        list(np.shape(named[o.name])) for o in response.outputs
    ]
    if params.target.task == "multiclass":
        expected = [[answer["probabilities"][label] for label in LABELS] for answer in answers]
        assert named == {"probabilities": expected, "label": [answer["label"] for answer in answers]}
        assert list(response.outputs[0].contents.fp64_contents) == np.ravel(expected).tolist()
        assert [text.decode() for text in response.outputs[1].contents.bytes_contents] == named["label"]
        assert all(
            max(answer["probabilities"], key=answer["probabilities"].get) == answer["label"] for answer in answers
        )
    elif params.target.task == "quantiles":
        assert [output.name for output in response.outputs] == [f"quantile_{level}" for level in LEVELS]
        for level, output in zip(LEVELS, response.outputs, strict=True):
            expected = [answer["quantiles"][level] for answer in answers]
            assert named[f"quantile_{level}"] == list(output.contents.fp64_contents) == expected
        assert all(list(answer["quantiles"].values()) == sorted(answer["quantiles"].values()) for answer in answers)
    else:
        assert named == {"value": [answer["value"] for answer in answers]}
        assert list(response.outputs[0].contents.fp64_contents) == named["value"]
        assert struct.unpack("<f", struct.pack("<f", named["value"][0]))[0] == named["value"][0]


def test_answers_are_as_the_openapi_document_says(judged: Path, params: Params) -> None:
    schemas = json.loads(document(Core.load(paths.BUNDLE)))["components"]["schemas"]
    answer = schemas["Prediction"]
    if params.target.task == "multiclass":
        assert answer["required"] == ["probabilities", "label"]
        assert answer["properties"]["probabilities"]["required"] == LABELS
        assert answer["properties"]["label"]["enum"] == LABELS
    elif params.target.task == "quantiles":
        assert answer["required"] == ["quantiles"]
        assert answer["properties"]["quantiles"]["required"] == LEVELS
        assert answer["properties"]["quantiles"]["properties"]["0.9"] == {"type": "number", "description": "unit: EUR"}
    else:
        assert answer["required"] == ["value"]
        assert answer["properties"]["value"] == {"type": "number", "description": "the mean; unit: EUR"}


def test_answer_is_the_same_alone_and_in_the_table(judged: Path, params: Params) -> None:
    predictor = Predictor.load(paths.BOOSTED)
    names = [field.name for field in predictor.schema.fields]
    table = tables.read(paths.partition("all")).select(names)
    scored = predictor.score_table(tables.columns_of(table, names)).tolist()
    for row, score in list(zip(table.to_dicts(), scored, strict=True))[:150]:
        (answer,) = predictor.predict([row])
        (given, *_) = answer.values()
        assert (list(given.values()) if isinstance(given, dict) else given) == score


def test_worse_model_loses_against_the_live_one_and_a_spoiled_month_raises_the_alarm(
    judged: Path, params: Params
) -> None:
    digest = manifest.digest_of(paths.BUNDLE)
    publish.run(params)
    store = Store("store")
    store.move("live", digest, expected=store.read("live"), by="test")
    assert digest[:12] in monitor.run(params)
    worse = params.model_copy(update={"train": params.train.model_copy(update={"max_rounds": 3, "learning_rate": 0.3})})
    with pytest.raises(ModelRejectedError, match="not worse than the live model"):
        _judge(worse)
    shuffled = tables.read(paths.accepted("all"))
    column = pl.col(params.target.column).shuffle(seed=1)
    tables.write(shuffled.with_columns(column), paths.accepted("all"))
    with pytest.raises(ModelRejectedError, match="worse than it was"):
        monitor.run(params)


def test_schema_carries_labels_and_unit(judged: Path, params: Params) -> None:
    schema = FeatureSchema.from_bytes((paths.BOOSTED / "schema.json").read_bytes())
    assert (schema.task, schema.target.labels, schema.target.unit, schema.target.threshold) == (
        params.target.task,
        params.target.labels,
        params.target.unit,
        None,
    )


def _post(core: Core, path: str, value: Any) -> bytes:
    answer = Caller(HttpApp(core)).post_json(path, value)
    assert answer.status == 200, answer.body
    return answer.body


def _tensor(field: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    values = [row.get(field.name) for row in rows]
    return {"name": field.name, "datatype": DATATYPES[field.kind], "shape": [len(rows)], "data": values}


def _add(request: Any, field: Any, rows: list[dict[str, Any]]) -> None:
    entry = request.inputs.add(name=field.name, datatype=DATATYPES[field.kind], shape=[len(rows)])
    values = [row.get(field.name) for row in rows]
    if field.kind == "number":
        entry.contents.fp64_contents.extend(float("nan") if value is None else value for value in values)
    elif field.kind == "boolean":
        entry.contents.bool_contents.extend(values)
    else:
        entry.contents.bytes_contents.extend((value or "").encode() for value in values)
