"""The linear baseline: logistic or ridge regression on one-hot categories and scaled numbers, by scikit-learn; and its ONNX form."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.model import transforms
from contract.schema.schema import FeatureSchema
from contract.schema.tasks import TASKS
from pipelines.models.family import ALONE, Matrix, Rows, Session
from pipelines.models.graph import FEATURES, MARGINS, Link, model_bytes, tensor
from pipelines.params.train import FamilyParams

TOLERANCE = 1e-4  # the export is in single precision, the fit in double
_MISSING = -1.0
_DIGITS = 6
_NOISE = 1e-9  # share of the largest coefficient below which a coefficient is zero
_ROWS = 100_000  # largest table that is fitted whole: more would take a tenth of the time of boosting, and half of its memory
_HESSIAN = 4_000  # columns of the largest Hessian of newton-cholesky: 128 MB
_LINKS: dict[str, Link] = {
    "logistic": "logistic",
    "softmax": "softmax",
    "pinball": "ascending",
    "poisson": "exponential",
    "gamma": "exponential",
    "tweedie": "exponential",
}
Numbers = NDArray[np.float64]


class LinearModel(NamedTuple):
    """A fitted pipeline of scikit-learn, for rows without gaps.

    Attributes:
        fills: float64, by feature, what stands for a missing value: the code of its own that it has, or the median.
    """

    fills: Numbers
    pipeline: Any

    def filled(self, matrix: Matrix | Numbers) -> NDArray[Any]:
        """Return the rows without gaps, in their own precision."""
        return np.where(np.isnan(matrix), self.fills.astype(matrix.dtype), matrix)


def train(
    rows: Rows, _settings: FamilyParams, schema: FeatureSchema, _session: Session = ALONE
) -> tuple[LinearModel, dict[str, Any]]:
    """Return the fitted model, without entries in `training.json`; of a large table it fits `_ROWS` rows, evenly spaced.

    So many fix a hundred coefficients: the log loss is within .001 of that of all rows. scikit-learn fits no logistic regression by
    batches to convergence.
    """
    sample = rows.sample(_ROWS)
    return fit(sample.matrix, sample.outcomes, schema, sample.weights), {}


def fit(
    matrix: Matrix, outcomes: NDArray[Any], schema: FeatureSchema, weights: NDArray[np.float32] | None = None
) -> LinearModel:
    """Return the fitted model of float32 rows × features, NaN for missing.

    Its coefficients are rounded to six significant digits, the same ones on every processor: the solvers converge to some ten
    digits, of which the last few depend on the processor's BLAS kernel.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    coded, numeric = _parts(schema)
    codes = [_codes(schema, index) for index in coded]
    columns = ColumnTransformer(
        [("coded", OneHotEncoder(categories=codes), coded), ("numeric", StandardScaler(), numeric)],
        sparse_threshold=1.0,
    )
    model = make_pipeline(columns, _estimator(schema, len(outcomes), sum(map(len, codes)) + len(numeric)))
    found = LinearModel(_fills(matrix, coded), model)
    weighed = {} if weights is None else {f"{model.steps[-1][0]}__sample_weight": weights.astype(np.float64)}
    given = found.filled(matrix.astype(np.float64))  # in single precision no solver converges to six digits
    model.fit(given, outcomes, **weighed)
    estimator = model.steps[-1][1]
    estimator.coef_ = rounded(estimator.coef_)
    if levels := _levels(schema):
        # The quantiles of the residuals, for every row the same ones: a linear quantile regression takes minutes.
        shifts = np.quantile(outcomes - model.predict(found.filled(matrix)), levels)
        estimator.coef_ = np.tile(estimator.coef_, (len(levels), 1))
        estimator.intercept_ = estimator.intercept_ + shifts
    estimator.intercept_ = rounded(np.asarray(estimator.intercept_))
    return found


def _fills(matrix: Matrix, coded: list[int]) -> Numbers:
    """Return what stands for a missing value of each feature; a number without a value in any row is 0."""
    fills = np.zeros(matrix.shape[1])
    for index in range(matrix.shape[1]):
        # scikit-learn's imputer finds the same medians by masked arrays, which takes a quarter of the whole fit.
        if index in coded:
            fills[index] = _MISSING
        elif len(known := matrix[~np.isnan(matrix[:, index]), index]):
            fills[index] = np.median(known.astype(np.float64))
    return fills


def _levels(schema: FeatureSchema) -> tuple[float, ...]:
    """Return the levels of the quantiles that the objective estimates; the median stands for a robust mean."""
    return (0.5,) if schema.objective.name in ("absolute_error", "huber") else schema.target.quantiles


def _parts(schema: FeatureSchema) -> tuple[list[int], list[int]]:
    """Return the positions of the features that are codes of categories, and those of the others."""
    coded = [index for index, feature in enumerate(schema.features) if transforms.codes(feature) is not None]
    return coded, [index for index in range(len(schema.features)) if index not in coded]


def _codes(schema: FeatureSchema, index: int) -> NDArray[np.float32]:
    """Return every code that the encoder can give: missing, the known categories, and unknown."""
    return np.arange(_MISSING, len(transforms.codes(schema.features[index]) or ()) + 1, dtype=np.float32)


def _estimator(schema: FeatureSchema, rows: int, columns: int) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge, TweedieRegressor

    if power := {"poisson": 1.0, "gamma": 2.0, "tweedie": schema.target.power}.get(schema.objective.name):
        solver = "newton-cholesky" if columns <= _HESSIAN else "lbfgs"
        # The penalty of the others, which do not divide the loss by the rows.
        return TweedieRegressor(power=power, link="log", alpha=1 / rows, solver=solver, tol=1e-8, max_iter=300)
    if TASKS[schema.task].is_number:
        return Ridge(solver="lsqr", tol=1e-12)
    if columns * max(1, len(schema.target.labels) - 1) > _HESSIAN:
        return LogisticRegression(solver="newton-cg", tol=1e-10, max_iter=300)
    return LogisticRegression(solver="newton-cholesky", max_iter=300)


def rounded(numbers: Numbers) -> Numbers:
    """Return the numbers to six significant digits; 0 for those below the rounding error of the largest."""
    exact = np.array([float(f"{number:.{_DIGITS}g}") for number in numbers.ravel()]).reshape(numbers.shape)
    return np.where(np.abs(numbers) < _NOISE * np.abs(numbers).max(initial=0.0), 0.0, exact)


def unseen(rows: Rows, _settings: FamilyParams, schema: FeatureSchema, _session: Session = ALONE) -> LinearModel:
    """Return the model that is fitted on the training rows alone."""
    sample = rows.sample(_ROWS)
    is_training = ~sample.is_validation
    weights = None if sample.weights is None else sample.weights[is_training]
    return fit(sample.matrix[is_training], sample.outcomes[is_training], schema, weights)


def margins(model: LinearModel, matrix: Matrix, _schema: FeatureSchema) -> Numbers:
    """Return the decision values of the fitted pipeline."""
    found: Numbers = model.pipeline.decision_function(model.filled(matrix))
    return found


def scores(model: LinearModel, matrix: Matrix, schema: FeatureSchema) -> Numbers:
    """Return the scores of the fitted pipeline, in the shapes of `contract.model.predictor.Predictor.score_matrix`."""
    if TASKS[schema.task].is_number:
        predicted: Numbers = model.pipeline.predict(model.filled(matrix))
        return np.sort(predicted, axis=1) if TASKS[schema.task].has_quantiles else predicted.reshape(-1)
    probabilities: Numbers = model.pipeline.predict_proba(model.filled(matrix))
    return probabilities[:, 1] if TASKS[schema.task].has_positive else probabilities


def importance(model: LinearModel, rows: Rows, schema: FeatureSchema) -> dict[str, float]:
    """Return each feature's share of the spread: the standard deviation of its term in the score before the link."""
    columns, estimator = model.pipeline.steps[0][1], model.pipeline.steps[-1][1]
    matrix = model.filled(rows.sample(_ROWS).matrix.astype(np.float64))
    weights, encoded = np.atleast_2d(estimator.coef_).T, columns.transform(matrix)
    coded, numeric = _parts(schema)
    ends = np.cumsum([*(len(_codes(schema, index)) for index in coded), *(1 for _ in numeric)]).tolist()
    spreads = {}
    for index, start, end in zip([*coded, *numeric], [0, *ends], ends, strict=False):
        added = encoded[:, start:end] @ weights[start:end]
        spreads[schema.feature_names[index]] = float(added.std(axis=0).sum())
    total = sum(spreads.values()) or 1.0
    return {name: spreads[name] / total for name in schema.feature_names}


def files(_model: LinearModel) -> dict[str, bytes]:
    """Return none: scikit-learn's own form is a pickle."""
    return {}


def to_onnx(model: LinearModel, schema: FeatureSchema) -> bytes:
    """Return the ONNX model of a fitted pipeline: float32 rows × features, NaN for missing, to float32 rows × outputs.

    `MatMul` gives a row the same bits alone and in every batch; the operators `LinearClassifier` and `LinearRegressor` do not.
    """
    from onnx import helper

    columns, estimator = model.pipeline.steps[0][1], model.pipeline.steps[-1][1]
    weights = np.atleast_2d(estimator.coef_).T.astype(np.float32)
    coded, numeric = _parts(schema)
    nodes: list[Any] = []
    constants = [
        tensor("weights", weights),
        tensor("intercept", np.atleast_1d(estimator.intercept_).astype(np.float32)),
    ]
    parts = []
    if coded:
        parts.append(_one_hot(nodes, constants, coded, [_codes(schema, index) for index in coded]))
    if numeric:
        parts.append(_scaled(nodes, constants, numeric, model.fills[numeric], columns.named_transformers_["numeric"]))
    nodes += [
        helper.make_node("Concat", parts, ["columns"], axis=1),
        helper.make_node("MatMul", ["columns", "weights"], ["products"]),
        helper.make_node("Add", ["products", "intercept"], [MARGINS]),
    ]
    return model_bytes(
        nodes, constants, len(schema.features), weights.shape[1], _LINKS.get(schema.objective.name, "identity")
    )


def _one_hot(nodes: list[Any], constants: list[Any], coded: list[int], codes: list[NDArray[np.float32]]) -> str:
    """Add the nodes of one column per code and feature: the feature repeated, compared with all of its codes at once."""
    from onnx import TensorProto, helper

    constants += [
        tensor("coded", np.repeat(np.array(coded, np.int64), [len(known) for known in codes])),
        tensor("codes", np.concatenate(codes)),
        tensor("missing", np.array([_MISSING], np.float32)),
    ]
    nodes += [
        helper.make_node("Gather", [FEATURES, "coded"], ["given_codes"], axis=1),
        helper.make_node("IsNaN", ["given_codes"], ["has_no_code"]),
        helper.make_node("Where", ["has_no_code", "missing", "given_codes"], ["all_codes"]),
        helper.make_node("Equal", ["all_codes", "codes"], ["is_code"]),
        helper.make_node("Cast", ["is_code"], ["one_hot"], to=TensorProto.FLOAT),
    ]
    return "one_hot"


def _scaled(nodes: list[Any], constants: list[Any], numeric: list[int], medians: Numbers, scaler: Any) -> str:
    """Add the nodes that impute the medians and scale the other features."""
    from onnx import helper

    constants.append(tensor("numeric", np.array(numeric, np.int64)))
    fitted_numbers = {"medians": medians, "means": scaler.mean_, "deviations": scaler.scale_}
    constants += [tensor(name, values.astype(np.float32)) for name, values in fitted_numbers.items()]
    nodes += [
        helper.make_node("Gather", [FEATURES, "numeric"], ["given_numbers"], axis=1),
        helper.make_node("IsNaN", ["given_numbers"], ["has_no_number"]),
        helper.make_node("Where", ["has_no_number", "medians", "given_numbers"], ["numbers"]),
        helper.make_node("Sub", ["numbers", "means"], ["centred"]),
        helper.make_node("Div", ["centred", "deviations"], ["scaled"]),
    ]
    return "scaled"
