"""Calibrators against scikit-learn's own, and their ONNX nodes against both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.errors import ConfigurationError, DataRejectedError, ModelRejectedError
from contract.files import canonical_json, write_atomically
from contract.model.runtime import onnxruntime
from contract.schema.schema import Target
from pipelines import paths
from pipelines.data.training import Rows
from pipelines.models import calibration
from pipelines.models.calibrated import calibrated
from pipelines.models.calibration import Calibrator, Isotonic
from pipelines.models.families import linear
from pipelines.models.graph import FEATURES, MARGINS, model_bytes, with_calibrator
from pipelines.params import file
from pipelines.params.features.transforms import MINIMUM_COUNT
from pipelines.params.params import Params
from pipelines.params.train import LinearParams
from pipelines.stages.evaluate import stage as evaluate
from pipelines.stages.features import stage as features
from pipelines.stages.train import stage as training
from tests.pipelines.conftest import write_months
from tests.pipelines.models import toy

BINARY = Target("late", ("no", "yes"), 0.5)
MANY = Target("depot", ("north", "south", "west"))
_Numbers = NDArray[Any]


def _sharp(rows: int = 6000) -> tuple[_Numbers, _Numbers]:
    """Margins twice as far apart as the log odds, and shifted."""
    draw = np.random.default_rng(3)
    odds = draw.normal(-0.4, 1.2, rows)
    return (2 * odds + 0.7).astype(np.float32), (draw.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.int8)


def _sharp_of_many(rows: int = 6000) -> tuple[_Numbers, _Numbers]:
    draw = np.random.default_rng(4)
    odds = draw.normal(0, 1.2, (rows, 3))
    shares = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
    drawn = (draw.random((rows, 1)) > shares.cumsum(axis=1)[:, :2]).sum(axis=1)
    return (2 * odds).astype(np.float32), drawn


def _of_scikit_learn(method: str, margins: _Numbers, outcomes: _Numbers) -> _Numbers:
    """Probabilities by the public class, around a classifier whose decision values are the margins."""
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    class Given(ClassifierMixin, BaseEstimator):
        def fit(self, _features: _Numbers, labels: _Numbers) -> Any:
            self.classes_ = np.unique(labels)
            return self

        def decision_function(self, features: _Numbers) -> _Numbers:
            return features[:, 0] if len(self.classes_) == 2 else features

        def predict(self, features: _Numbers) -> _Numbers:
            raise NotImplementedError

    columns = margins.reshape(len(margins), -1).astype(np.float64)
    given = FrozenEstimator(Given().fit(columns, outcomes))
    model = CalibratedClassifierCV(given, method=method).fit(columns, outcomes)
    found: _Numbers = model.predict_proba(columns)
    return found[:, 1] if margins.ndim == 1 else found


def _exported(calibrator: Calibrator, margins: _Numbers, link: Any) -> Any:
    """A session of a model whose margins are its features."""
    from onnx import helper

    columns = margins.reshape(len(margins), -1)
    plain = model_bytes(
        [helper.make_node("Identity", [FEATURES], [MARGINS])], [], columns.shape[1], columns.shape[1], link
    )
    made = [with_calibrator(plain, *calibrator.nodes(), calibrator.link) for _ in range(2)]
    assert made[0] == made[1]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(made[0], options)
    return lambda rows: session.run(None, {FEATURES: rows.reshape(len(rows), -1)})[0].reshape(rows.shape)


@pytest.mark.parametrize(("method", "nearest"), [("sigmoid", 2e-6), ("temperature", 2e-6), ("isotonic", 0.1)])
def test_calibrator_gives_the_probabilities_of_scikit_learn(method: str, nearest: float) -> None:
    margins, outcomes = _sharp()
    ours = calibration.fit(method, margins, outcomes, BINARY).probabilities(margins)
    theirs = _of_scikit_learn(method, margins, outcomes)
    # Isotonic regression on bins differs from that on rows by the outermost rows, which bins do not follow.
    assert np.abs(ours - theirs).max() < nearest
    assert np.abs(ours - theirs).mean() < nearest / 5


def test_temperature_of_many_labels_is_that_of_scikit_learn() -> None:
    margins, outcomes = _sharp_of_many()
    found = calibration.fit("temperature", margins, outcomes, MANY)
    assert found.told["slope"] == pytest.approx(0.5, abs=0.03)
    assert found.probabilities(margins) == pytest.approx(_of_scikit_learn("temperature", margins, outcomes), abs=2e-6)


@pytest.mark.parametrize(
    ("method", "link"),
    [("sigmoid", "logistic"), ("temperature", "logistic"), ("isotonic", "logistic"), ("temperature", "softmax")],
)
def test_export_gives_the_librarys_probabilities_and_each_row_the_same_bits_alone(method: str, link: str) -> None:
    margins, outcomes = _sharp() if link == "logistic" else _sharp_of_many()
    calibrator = calibration.fit(method, margins, outcomes, BINARY if link == "logistic" else MANY)
    if margins.ndim == 1:
        beyond = [np.float32([-80, -30, 30, 80])]
        knots = calibrator.margins.astype(np.float32) if isinstance(calibrator, Isotonic) else np.float32([])
        margins = np.concatenate([margins, *beyond, knots, np.nextafter(knots, np.float32(np.inf))])
    score = _exported(calibrator, margins, link)
    together = score(margins)
    assert np.abs(together - calibrator.probabilities(margins)).max() < 3e-7
    alone = np.concatenate([score(margins[index : index + 1]) for index in range(0, len(margins), 37)])
    assert alone.tobytes() == together[::37].tobytes()
    if margins.ndim == 1:
        assert np.all(np.diff(together[np.argsort(margins)]) >= 0)


def test_isotonic_has_no_knot_at_a_row_and_none_that_fewer_rows_than_allowed_make() -> None:
    margins, outcomes = _sharp(700)  # bins of few rows
    found = calibration.fit("isotonic", margins, outcomes, BINARY)
    assert isinstance(found, Isotonic)
    assert not np.isin(found.margins.astype(np.float32), margins).any()
    rows = np.histogram(margins, [-np.inf, *found.margins, np.inf])[0]
    assert 1 < len(found.margins) < len(margins) / MINIMUM_COUNT
    assert rows[0] >= MINIMUM_COUNT / 4, "the first knot lies in the middle of its bin"
    assert 0 < found.chances.min() < found.chances.max() < 1


@pytest.mark.parametrize("method", ["sigmoid", "temperature", "isotonic"])
def test_calibrator_leaves_a_model_that_learned_nothing_as_it_is(method: str) -> None:
    outcomes = np.arange(100) % 4 // 3
    found = calibration.fit(method, np.full(100, np.log(1 / 3), np.float32), outcomes, BINARY)
    assert found.probabilities(np.full(3, np.log(1 / 3), np.float32)) == pytest.approx([0.25] * 3, abs=1e-6)


@pytest.mark.parametrize("method", ["sigmoid", "temperature"])
def test_calibrator_is_refused_when_outcomes_fall_with_the_score(method: str) -> None:
    margins, outcomes = _sharp()
    with pytest.raises(ModelRejectedError, match="do not rise with the model's scores"):
        calibration.fit(method, margins, 1 - outcomes, BINARY)


def test_calibrator_is_refused_when_a_label_has_no_validation_row() -> None:
    margins, _ = _sharp(50)
    with pytest.raises(DataRejectedError, match=r"none of the 50 validation rows is 'yes'; enlarge split.validation"):
        calibration.fit("sigmoid", margins, np.zeros(50, np.int8), BINARY)


@pytest.mark.parametrize(
    ("target", "method", "allowed"),
    [
        ({"task": "regression", "labels": []}, "sigmoid", "none"),
        ({"task": "multiclass", "labels": ["kept", "broken", "lost"]}, "isotonic", "none, temperature"),
    ],
)
def test_calibration_that_does_not_fit_the_task_is_refused(
    raw: dict[str, Any], tmp_path: Path, target: dict[str, Any], method: str, allowed: str
) -> None:
    raw["target"] |= target
    raw["train"]["calibration"] = method
    with pytest.raises(ConfigurationError, match=f"train.calibration {method} does not fit a .*; allowed: {allowed}"):
        file.parse(json.dumps(raw).encode(), "params.yaml")


def _trained(workspace: Path, raw: dict[str, Any], method: str, family: str = "gbtree") -> dict[str, Any]:
    """Entries of `training.json` after the stages before and `train`."""
    raw["train"] = {"family": family, "seed": 1, "calibration": method}
    if family == "gbtree":
        raw["train"] |= {"max_depth": 3, "max_rounds": 60, "early_stopping_rounds": 10}
    raw["gates"] = {"linear_margin": 0.5, "calibration_margin": 0.05}
    params = Params.model_validate(raw)
    write_months(workspace, noise=0.3)
    features.run(params)
    training.run(params)
    found: dict[str, Any] = json.loads(paths.TRAINING.read_bytes())
    return found


def _judged(raw: dict[str, Any]) -> str:
    write_atomically(paths.SCREENING, canonical_json({"suspects": {}}))
    write_atomically(paths.CHAMPION / "champion.json", canonical_json({"digest": None, "learned": None}))
    return evaluate.run(Params.model_validate(raw))


@pytest.mark.parametrize(
    ("family", "method"),
    [
        ("gbtree", "sigmoid"),
        ("gbtree", "isotonic"),
        ("linear", "temperature"),
        ("linear", "isotonic"),
        ("forest", "sigmoid"),
    ],
)
def test_calibrated_model_is_trained_judged_and_the_same_again(
    workspace: Path, raw: dict[str, Any], family: str, method: str
) -> None:
    found = _trained(workspace, raw, method, family)
    assert found["calibration"]["method"] == method
    written = {path.name: path.read_bytes() for path in paths.BOOSTED.iterdir()}
    assert written["model.onnx"] != written["uncalibrated.onnx"]
    assert "not worse than uncalibrated" in [check["name"] for check in _approval(raw)["checks"]]
    metrics = json.loads(paths.METRICS.read_bytes())
    assert metrics["log_loss"] != metrics["against"]["uncalibrated"]["log_loss"]
    training.run(Params.model_validate(raw))
    assert {path.name: path.read_bytes() for path in paths.BOOSTED.iterdir()} == written


def _approval(raw: dict[str, Any]) -> dict[str, Any]:
    _judged(raw)
    found: dict[str, Any] = json.loads(paths.GATES.read_bytes())
    return found


def test_calibrator_is_fitted_on_rows_that_its_model_has_not_learned_from(workspace: Path, raw: dict[str, Any]) -> None:
    import xgboost

    found = _trained(workspace, raw, "sigmoid")
    rows = Rows(paths.TRAINING_ROWS)
    learned, held = ~rows.is_validation, rows.is_validation
    asked = {"objective": "binary:logistic", "seed": 1, "max_depth": 3, "learning_rate": 0.1, "nthread": 1}
    matrix = xgboost.DMatrix(rows.matrix[learned], rows.outcomes[learned])
    unseen = xgboost.train(asked, matrix, found["rounds"])
    margins = unseen.predict(xgboost.DMatrix(rows.matrix[held]), output_margin=True)
    ours = found["calibration"]
    expected = _of_scikit_learn("sigmoid", margins, rows.outcomes[held])
    assert 1 / (1 + np.exp(-ours["slope"] * margins - ours["intercept"])) == pytest.approx(expected, abs=1e-5)


def test_model_is_rejected_when_its_calibration_raises_the_log_loss(
    workspace: Path, raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(calibration.CALIBRATORS, "sigmoid", lambda _margins, _outcomes: calibration.Scaling(9.0))
    _trained(workspace, raw, "sigmoid")
    with pytest.raises(ModelRejectedError, match="not worse than uncalibrated: share of the other's log loss saved -"):
        _judged(raw)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibrated_model_of_weighted_rows_has_the_rate_of_the_rows_as_they_are(method: str, tmp_path: Path) -> None:
    values = toy.matrix(6000, 5)
    outcomes = (toy.outcomes("regression", values) > 24).astype(np.int8)
    weights = np.where(outcomes == 1, 10, 1).astype(np.float32)
    rows, schema = toy.table(tmp_path, values, outcomes, weights), toy.schema("binary")
    family, settings = calibrated(linear, method), LinearParams(family="linear", seed=1)
    model, _ = family.train(rows, settings, schema)
    plain, _ = linear.train(rows, settings, schema)
    rate = outcomes.mean()
    assert linear.scores(plain, values, schema).mean() > 1.5 * rate
    assert family.scores(model, values, schema).mean() == pytest.approx(rate, rel=0.1)
