"""From features to the store on the small table: the stages run one after another, as `dvc repro` runs them."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from contract.bundle import manifest
from contract.errors import (
    EXIT_DATA,
    BundleError,
    ConfigurationError,
    ConflictError,
    DataRejectedError,
    ModelRejectedError,
)
from contract.model.predictor import Predictor
from contract.schema.schema import FeatureSchema
from contract.store.store import Store
from pipelines import paths
from pipelines.columns import golden
from pipelines.commands.monitor import command as monitor
from pipelines.commands.publish import command as publish
from pipelines.data import tables
from pipelines.machine import looks
from pipelines.models import export
from pipelines.params.params import Params
from pipelines.stages.bundle import stage as bundle
from pipelines.stages.champion import stage as champion
from pipelines.stages.evaluate import stage as evaluate
from pipelines.stages.features import stage as features
from pipelines.stages.screen import stage as screen
from pipelines.stages.train import stage as train
from pipelines.stages.tune import stage as tune
from pipelines.stages.validate import stage as validate
from tests.pipelines.conftest import write_months


def _train(params: Params, *, learnable: bool = True) -> None:
    write_months(Path.cwd(), learnable=learnable)
    features.run(params)
    with suppress(DataRejectedError):  # the distance tells all; the report is written whatever the outcome
        screen.run(params)
    tune.run(params)
    train.run(params)
    champion.run(params)


def _publish(params: Params) -> str:
    validate.run(params)
    evaluate.run(params)
    bundle.run(params)
    publish.run(params)
    return manifest.digest_of(paths.BUNDLE)


def _go_live(params: Params) -> str:
    digest = _publish(params)
    store = Store("store")
    store.move("live", digest, expected=store.read("live"), by="test")
    return digest


def _rejection(params: Params) -> ModelRejectedError:
    with pytest.raises(ModelRejectedError) as caught:
        evaluate.run(params)
    assert caught.value.exit_code == EXIT_DATA
    return caught.value


def test_train_gives_the_same_bytes_whatever_the_number_of_threads(workspace: Path, raw: dict[str, Any]) -> None:
    models = []
    for threads in (1, 2):
        raw["train"]["threads"] = threads
        _train(Params.model_validate(raw))
        models.append({path.name: path.read_bytes() for path in sorted(paths.MODELS.rglob("*")) if path.is_file()})
    assert models[0] == models[1]


def test_train_changes_the_model_when_the_seed_changes(workspace: Path, raw: dict[str, Any]) -> None:
    models = []
    for seed in (1, 2):
        raw["train"] |= {"seed": seed, "subsample": 0.5}
        _train(Params.model_validate(raw))
        models.append((paths.BOOSTED / "model.onnx").read_bytes())
    assert models[0] != models[1]


def test_exported_model_scores_like_xgboost_with_gaps_and_unknown_categories(workspace: Path, params: Params) -> None:
    import xgboost

    _train(params)
    booster = xgboost.Booster()
    booster.load_model(paths.BOOSTED / "model.ubj")
    random = np.random.default_rng(3)
    matrix = random.uniform(-5, 105, (20_000, len(params.features))).astype(np.float32)
    matrix[:, 0] = random.integers(0, 3, len(matrix))  # the third code is the one for unknown categories
    matrix[random.random(matrix.shape) < 0.2] = np.nan
    difference = np.abs(booster.inplace_predict(matrix) - Predictor.load(paths.BOOSTED).score_matrix(matrix))
    assert difference.max() <= export.TOLERANCE


def test_check_parity_rejects_an_export_that_differs() -> None:
    with pytest.raises(ModelRejectedError, match="boosted"):
        export.check_parity("boosted", np.array([0.5], np.float32), np.array([0.51], np.float32))
    with pytest.raises(ModelRejectedError, match="nan"):
        export.check_parity("boosted", np.array([0.5], np.float32), np.array([np.nan], np.float32))


def test_check_parity_of_numbers_is_a_share_of_the_largest_one() -> None:
    expected, exported = np.array([0.0, -200_000.0]), np.array([1.0, -200_000.0])
    assert export.check_parity("boosted", expected, exported, 1e-5, relative=True) == pytest.approx(5e-6)
    with pytest.raises(ModelRejectedError, match="boosted"):
        export.check_parity("boosted", expected, exported, 1e-6, relative=True)
    assert export.check_parity("boosted", np.zeros(2), np.zeros(2), relative=True) == 0


def test_predictor_answers_a_request_as_the_table_is_scored(workspace: Path, params: Params) -> None:
    _train(params)
    predictor = Predictor.load(paths.BOOSTED)
    names = [field.name for field in predictor.schema.fields]
    rows = tables.read(paths.accepted("2024-03")).select(names)
    scored = predictor.score_table(tables.columns_of(rows, names))
    requests = [
        {name: value.isoformat() if name == "promised" else value for name, value in row.items() if value is not None}
        for row in rows.to_dicts()
    ]
    alone = [predictor.predict([request])[0]["probability"] for request in requests[:200]]
    together = [answer["probability"] for answer in predictor.predict(requests)]
    assert together == scored.tolist()
    assert alone == scored.tolist()[:200]


def test_evaluate_approves_a_model_that_beats_both_baselines(workspace: Path, params: Params) -> None:
    _train(params)
    evaluate.run(params)
    metrics = json.loads(paths.METRICS.read_bytes())
    assert metrics["roc_auc"] > metrics["against"]["linear"]["roc_auc"] > metrics["against"]["prior"]["roc_auc"] - 0.1
    assert metrics["holdout"]["rows"] + metrics["holdout"]["unlabelled"] == 620
    assert metrics["holdout"]["months"] == ["2024-03"]
    assert json.loads(paths.GATES.read_bytes())["approved"] is True
    drawn = {path.stem for path in paths.PLOTS.iterdir() if len(path.read_text().splitlines()) > 1}
    assert drawn == {"roc", "pr", "confusion", "calibration", "importance"}
    page = paths.EVALUATION.read_text()
    assert "Approved" in page
    assert page.count("<svg") == 4


def test_evaluate_gives_the_same_bytes_twice(workspace: Path, params: Params) -> None:
    _train(params)
    written = []
    for _ in range(2):
        evaluate.run(params)
        written.append([path.read_bytes() for path in (paths.EVALUATION, paths.METRICS, paths.GATES)])
    assert written[0] == written[1]


@pytest.mark.parametrize(("undecided", "title"), [("hold", "Held until a person decides"), ("reject", "Rejected")])
def test_evaluate_approves_no_model_that_learned_nothing_and_bundle_refuses_it(
    workspace: Path, raw: dict[str, Any], undecided: str, title: str
) -> None:
    raw["gates"]["undecided"] = undecided
    params = Params.model_validate(raw)
    _train(params, learnable=False)
    assert "better than the prior: difference in ROC-AUC" in str(_rejection(params))
    page = paths.EVALUATION.read_text()
    assert title in page
    assert '<p id="bundle">Bundle: none. Only an approved model is bundled.</p>' in page
    assert json.loads(paths.GATES.read_bytes())["approved"] is False
    with pytest.raises(ModelRejectedError, match="only an approved model is bundled"):
        bundle.run(params)
    assert not paths.BUNDLE.exists()


def test_evaluate_rejects_a_model_worse_than_the_live_one(workspace: Path, raw: dict[str, Any]) -> None:
    _train(Params.model_validate(raw))
    live = _go_live(Params.model_validate(raw))
    raw["train"] |= {"max_rounds": 1, "max_depth": 1}
    worse = Params.model_validate(raw)
    _train(worse)
    error = _rejection(worse)
    assert "not worse than the live model" in str(error)
    assert json.loads(paths.GATES.read_bytes())["champion"] == live


def test_run_repeated_after_its_own_deployment_gives_the_same_bundle(workspace: Path, raw: dict[str, Any]) -> None:
    raw["serving"]["deprecated"] = {"wind": "number"}
    params = Params.model_validate(raw)
    _train(params)
    first = _go_live(params)
    served = Predictor.load(paths.BUNDLE / manifest.ARTIFACT)
    (row,) = golden.golden_rows(served.schema, 1)
    assert (
        served.predict([row | {"wind": "none"}])
        == served.predict([row])
        == Predictor.load(paths.BOOSTED).predict([row])
    )
    champion.run(params)
    assert json.loads((paths.CHAMPION / "champion.json").read_bytes()) == {"digest": None, "learned": None}
    assert _publish(params) == first
    assert Store("store").read("candidate").generation == 1


def test_champion_is_the_live_model_when_it_is_another(workspace: Path, raw: dict[str, Any]) -> None:
    _train(Params.model_validate(raw))
    live = _go_live(Params.model_validate(raw))
    raw["train"]["max_depth"] = 4
    _train(Params.model_validate(raw))
    learned = {"kind": "temporal", "columns": {"promised": "timestamp"}, "until": "2024-03-01T00:00:00"}
    assert json.loads((paths.CHAMPION / "champion.json").read_bytes()) == {"digest": live, "learned": learned}
    stored = Store("store").path(live) / manifest.ARTIFACT / "model.onnx"
    assert (paths.CHAMPION / "model.onnx").read_bytes() == stored.read_bytes()


@pytest.mark.parametrize("is_empty", [False, True])
def test_nothing_is_judged_without_the_live_model_when_the_store_is_lost(
    workspace: Path, params: Params, monkeypatch: pytest.MonkeyPatch, *, is_empty: bool
) -> None:
    """A store that is not there is a first use only where no live bundle was ever seen."""
    _train(params)
    live = _go_live(params)
    champion.run(params)
    before = (paths.CHAMPION / "champion.json").read_bytes()
    Path("store").rename("moved")
    if is_empty:
        Path("store").mkdir()
    for command in (champion, monitor):
        with pytest.raises(ConfigurationError, match=f"{live[:12]} was live: set BULKHEAD_STORE"):
            command.run(params)
    assert (paths.CHAMPION / "champion.json").read_bytes() == before
    monkeypatch.setenv("BULKHEAD_STORE", "moved")
    assert live[:12] in champion.run(params)
    monkeypatch.setenv("BULKHEAD_STORE", "another")
    Path("var/live-seen").unlink()
    assert champion.run(params) == "nothing is live yet"


def test_bundle_has_one_digest_for_one_run_and_verifies(workspace: Path, params: Params) -> None:
    _train(params)
    digests = {_publish(params) for _ in range(2)}
    assert len(digests) == 1
    digest = digests.pop()
    claims = manifest.verify(paths.BUNDLE, digest)
    page, before = paths.EVALUATION.read_text(), paths.VERDICT.read_text()
    assert f'<p id="bundle">Bundle <code>{digest}</code></p>' in page
    assert f"<code>{claims.files['src/bundle/model.onnx']}</code>" in page
    assert digest not in before
    assert page.splitlines()[-1] == before.splitlines()[-1]
    assert claims.inputs["partitions"].keys() == {"2024-01", "2024-02", "2024-03"}
    assert claims.gate["approved"] is True
    assert claims.environment["lock"] in claims.files


def test_bundle_holds_no_pickle_and_no_identifier_of_the_data(workspace: Path, params: Params) -> None:
    _train(params)
    _publish(params)
    orders = tables.read_partitions(params.data.months)["order"].to_list()
    for path in paths.BUNDLE.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not content.startswith(b"\x80\x04")
            assert path.suffix not in (".pkl", ".joblib")
            assert not any(order.encode() in content for order in orders[::50])


def test_bundle_answers_its_golden_requests_and_is_refused_when_the_model_is_another(
    workspace: Path, params: Params
) -> None:
    _train(params)
    _publish(params)
    artifact = paths.BUNDLE / manifest.ARTIFACT
    assert Predictor.load(artifact).check_golden(artifact / "golden.json") == 32
    shutil.copyfile(paths.LINEAR / "model.onnx", artifact / "model.onnx")
    with pytest.raises(BundleError, match="golden answers differ"):
        Predictor.load(artifact).check_golden(artifact / "golden.json")
    with pytest.raises(BundleError, match=r"model\.onnx.*changed"):
        manifest.verify(paths.BUNDLE)


def test_golden_rows_come_from_the_schema_and_show_its_gaps(workspace: Path, params: Params) -> None:
    write_months(workspace)
    features.run(params)
    schema = FeatureSchema.from_bytes((paths.FEATURES / "schema.json").read_bytes())
    rows = golden.golden_rows(schema, 200)
    assert rows == golden.golden_rows(schema, 200)
    assert set(rows[0]) == {field.name for field in schema.fields}
    assert any("weight" not in row for row in rows)
    assert any(row["depot"] == golden.UNKNOWN for row in rows)
    real = {at.isoformat(timespec="minutes") for at in tables.read_partitions(params.data.months)["promised"]}
    assert sum(row["promised"] in real for row in rows) < 5


def test_publish_refuses_a_model_once_its_hold_out_has_judged_too_many(workspace: Path, params: Params) -> None:
    _train(params)
    digest = _publish(params)
    decided = json.loads(paths.GATES.read_bytes())
    fitted, helped = decided["recalibrated"], decided["recalibration"]["on_validation"]
    assert (fitted["method"], fitted["rows"] > 0, fitted["slope"] > 0) == ("sigmoid", True, True)
    assert helped["verdict"] in ("helps", "harms", "undecided")
    look = looks.look_of(decided)
    assert look is not None
    assert looks.count(look.holdout) == 1  # once, by evaluate and by publish
    rivals = [looks.record(replace(look, model=str(rival)), "held") for rival in range(params.gates.looks)]
    assert rivals[-1] == 21
    assert f"{digest} is the candidate already" in publish.run(params)
    (paths.BUNDLE / "README.md").write_text("another bundle")
    claims = manifest.read(paths.BUNDLE)
    claims.files.update(manifest.tree_digests(paths.BUNDLE))
    (paths.BUNDLE / "manifest.json").write_bytes(claims.to_bytes())
    with pytest.raises(ModelRejectedError, match="has judged 21 models"):
        publish.run(params)


@pytest.mark.parametrize("is_same", [False, True])
def test_publish_is_told_when_another_publisher_was_faster(
    workspace: Path, params: Params, monkeypatch: pytest.MonkeyPatch, is_same: bool
) -> None:
    _train(params)
    digest = _publish(params)
    rival = Store("store")
    put = Store.put

    def put_and_be_overtaken(store: Store, path: Path) -> str:
        stored = put(store, path)
        rival.move("candidate", stored if is_same else digest, expected=rival.read("candidate"), by="rival")
        return stored

    monkeypatch.setattr(Store, "put", put_and_be_overtaken)
    (paths.BUNDLE / "README.md").write_text("another bundle")
    claims = manifest.read(paths.BUNDLE)
    claims.files.update(manifest.tree_digests(paths.BUNDLE))
    (paths.BUNDLE / "manifest.json").write_bytes(claims.to_bytes())
    if is_same:
        assert "is the candidate already: another publisher of it was faster" in publish.run(params)
        return
    with pytest.raises(ConflictError, match="somebody else"):
        publish.run(params)
    assert rival.read("candidate").digest == digest


def test_monitor_is_content_with_a_model_that_holds_and_alarms_when_it_does_not(
    workspace: Path, params: Params
) -> None:
    _train(params)
    digest = _go_live(params)
    assert digest[:12] in monitor.run(params)
    report = json.loads(paths.MONITOR.read_bytes())
    assert (report["alarm"], report["seen"]) == (False, True)
    assert report["roc_auc"] == pytest.approx(json.loads(paths.METRICS.read_bytes())["roc_auc"])
    path = paths.accepted("2024-03")
    swapped = pl.col("outcome").replace({"kept": "broken", "broken": "kept"})
    pl.read_parquet(path).with_columns(swapped).write_parquet(path)
    with pytest.raises(ModelRejectedError, match="worse than it was"):
        monitor.run(params)
    assert json.loads(paths.MONITOR.read_bytes())["alarm"] is True


def test_monitor_has_nothing_to_do_when_nothing_is_live(workspace: Path, params: Params) -> None:
    assert "no model is live" in monitor.run(params)
    assert not paths.MONITOR.exists()


def test_monitor_does_not_compare_when_the_live_model_reads_the_table_otherwise(
    workspace: Path, raw: dict[str, Any]
) -> None:
    _train(Params.model_validate(raw))
    digest = _go_live(Params.model_validate(raw))
    raw["data"]["columns"]["distance"]["unit"] = "mi"
    with pytest.raises(ConfigurationError, match=f"the live model {digest[:12]} cannot be monitored") as refused:
        monitor.run(Params.model_validate(raw))
    assert [(problem.field, problem.problem) for problem in refused.value.problems] == [
        ("distance", "its unit is 'km', that of data.columns 'mi'")
    ]
    assert not paths.MONITOR.exists()


def test_monitor_is_undecided_when_the_month_has_too_few_days(workspace: Path, raw: dict[str, Any]) -> None:
    """The model is as bad as in the alarm above."""
    _train(Params.model_validate(raw))
    _go_live(Params.model_validate(raw))
    path = paths.accepted("2024-03")
    swapped = pl.col("outcome").replace({"kept": "broken", "broken": "kept"})
    pl.read_parquet(path).with_columns(swapped).write_parquet(path)
    raw["gates"]["clusters"] = 32
    assert "undecided, over 31 days (gates.clusters: 32)" in monitor.run(Params.model_validate(raw))
    report = json.loads(paths.MONITOR.read_bytes())
    assert (report["alarm"], report["undecided"], report["clusters"]) == (False, True, 31)
    raw["gates"]["clusters"] = 31
    with pytest.raises(ModelRejectedError, match="worse than it was"):
        monitor.run(Params.model_validate(raw))
