"""Histogram gradient boosting, by scikit-learn; its trees are written as ONNX here, and its own form, a pickle, nowhere.

Early stopping on the validation rows sets the rounds, as with XGBoost. Of several quantiles each has a model of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.model import transforms
from contract.schema.schema import FeatureSchema
from contract.schema.tasks import TASKS
from pipelines.data.cuts import moved
from pipelines.models.families.ensemble import Tree, ensemble, leaf
from pipelines.models.family import ALONE, Matrix, Rows, Session
from pipelines.models.graph import Link, model_bytes
from pipelines.params.train import HistogramParams

TOLERANCE = 1e-5  # sums of trees in single precision; those of the library are in double
_MOST_CODES = 255  # categories of a feature that the library can split into sets
_WORD = 32
_DIRECTIONS = {"increasing": 1, "decreasing": -1}
_LOSSES = {
    "logistic": "log_loss",
    "softmax": "log_loss",
    "squared_error": "squared_error",
    "absolute_error": "absolute_error",
    "poisson": "poisson",
    "gamma": "gamma",
    "pinball": "quantile",
}
_LINKS: dict[str, Link] = {
    "logistic": "logistic",
    "softmax": "softmax",
    "poisson": "exponential",
    "gamma": "exponential",
    "pinball": "ascending",
}
_MEASURES = {"logistic": "log_loss", "softmax": "log_loss", "absolute_error": "mae", "pinball": "pinball_loss"}
Fitted = tuple[Any, ...]  # an estimator, or one for each quantile


def train(
    rows: Rows, settings: HistogramParams, schema: FeatureSchema, _session: Session = ALONE
) -> tuple[Fitted, dict[str, Any]]:
    """Return the estimators, the splits of all, and their mean rounds and loss on the validation rows.

    The same input gives the same bytes, whatever `threads` is. No threshold is a value of a row.
    """
    with _limited(settings.threads):
        rounds, losses = _stopped(rows, settings, schema)
        fitted = _fitted(rows, np.ones(rows.height, np.bool_), rounds, settings, schema)
    for estimator in fitted:
        _move_thresholds(estimator, rows, schema)
    nodes = [tree.nodes for estimator in fitted for tree in _predictors(estimator)]
    return fitted, {
        "rounds": round(sum(rounds) / len(rounds)),
        "splits": sum(int((of_tree["is_leaf"] == 0).sum()) for of_tree in nodes),
        f"validation_{_MEASURES.get(schema.objective.name, schema.objective.name)}": float(np.mean(losses)),
    }


def unseen(rows: Rows, settings: HistogramParams, schema: FeatureSchema, _session: Session = ALONE) -> Fitted:
    """Return the estimators of the training rows, up to their best rounds on the validation rows."""
    with _limited(settings.threads):
        rounds, _ = _stopped(rows, settings, schema)
        return _fitted(rows, ~rows.is_validation, rounds, settings, schema)


def _limited(threads: int) -> Any:
    from threadpoolctl import threadpool_limits

    return threadpool_limits(threads, user_api="openmp")


def _stopped(rows: Rows, settings: HistogramParams, schema: FeatureSchema) -> tuple[list[int], list[float]]:
    """Return the best rounds on the validation rows, and their loss, for each estimator."""
    given = _given(rows, ~rows.is_validation)
    matrix, outcomes, weights = _given(rows, rows.is_validation)
    held = {"X_val": matrix, "y_val": outcomes, "sample_weight_val": weights}
    rounds, losses = [], []
    for level in schema.target.quantiles or (None,):
        stopped = _estimator(settings, schema, level, settings.max_rounds, stops=True).fit(*given, **held)
        gains = stopped.validation_score_[1:]  # the first one is that of no tree
        rounds.append(int(np.argmax(gains)) + 1)
        losses.append(-float(gains.max()))
    return rounds, losses


def _given(rows: Rows, chosen: NDArray[np.bool_]) -> tuple[Matrix, NDArray[Any], NDArray[np.float32] | None]:
    """Return matrix, outcomes and weights of the chosen rows."""
    matrix, weights = rows.matrix[chosen], rows.weights
    matrix[:, np.isnan(matrix).all(axis=0)] = (
        0  # scikit-learn's binning fails for a column without a value; no tree uses it
    )
    return matrix, rows.outcomes[chosen], None if weights is None else weights[chosen]


def _fitted(
    rows: Rows, chosen: NDArray[np.bool_], rounds: list[int], settings: HistogramParams, schema: FeatureSchema
) -> Fitted:
    levels, given = schema.target.quantiles or (None,), _given(rows, chosen)
    return tuple(
        _estimator(settings, schema, level, count, stops=False).fit(*given)
        for level, count in zip(levels, rounds, strict=True)
    )


def _estimator(
    settings: HistogramParams, schema: FeatureSchema, level: float | None, rounds: int, *, stops: bool
) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    names = schema.feature_names
    asked: dict[str, Any] = {
        "loss": _LOSSES[schema.objective.name],
        "learning_rate": settings.learning_rate,
        "max_iter": rounds,
        "max_depth": settings.max_depth,
        "max_leaf_nodes": settings.max_leaf_nodes,
        "min_samples_leaf": settings.min_samples_leaf,
        "l2_regularization": settings.l2_regularization,
        "random_state": settings.seed,
        "categorical_features": _coded(schema),
        "early_stopping": stops,
        "n_iter_no_change": settings.early_stopping_rounds,
        "tol": 0.0,
    }
    if settings.monotone:
        asked["monotonic_cst"] = [_DIRECTIONS.get(settings.monotone.get(name, ""), 0) for name in names]
    if settings.interactions:
        # By the numbers that features have in the trees: the library translates those of `monotonic_cst` alone. It makes one more
        # group of the features that are in none.
        numbers = np.argsort(_positions(schema)).tolist()
        asked["interaction_cst"] = [[numbers[names.index(name)] for name in group] for group in settings.interactions]
    if not TASKS[schema.task].is_number:
        return HistGradientBoostingClassifier(**asked)
    return HistGradientBoostingRegressor(**asked, quantile=level)


def _coded(schema: FeatureSchema) -> list[int] | None:
    """Return the positions of features that are codes of few enough categories, the unknown one among them."""
    codes = [transforms.codes(feature) for feature in schema.features]
    return [index for index, known in enumerate(codes) if known is not None and len(known) < _MOST_CODES] or None


def _predictors(estimator: Any) -> list[Any]:
    """Return the trees, those of one round side by side; the library has no public name for them."""
    return [tree for of_round in estimator._predictors for tree in of_round]


def _positions(schema: FeatureSchema) -> NDArray[np.int64]:
    """Return the position of a feature by its number in the trees: the library puts categories first."""
    is_coded = np.zeros(len(schema.features), np.bool_)
    is_coded[_coded(schema) or []] = True
    return np.concatenate([np.flatnonzero(is_coded), np.flatnonzero(~is_coded)])


def _move_thresholds(estimator: Any, rows: Rows, schema: FeatureSchema) -> None:
    """Move every threshold between two neighbouring values of the rows, to a number of single precision.

    A row goes left up to the threshold, so it is the last number before one that `moved` gives, which a row is compared with by `<`.
    """
    positions, trees = _positions(schema), _predictors(estimator)
    for feature in np.unique(np.concatenate([tree.nodes["feature_idx"] for tree in trees])).tolist():
        values = rows.values(int(positions[feature]))
        for tree in trees:
            nodes = tree.nodes
            chosen = (nodes["feature_idx"] == feature) & (nodes["is_leaf"] == 0) & (nodes["is_categorical"] == 0)
            if chosen.any() and len(values):
                after = np.searchsorted(values, nodes["num_threshold"][chosen], side="right")
                beyond = np.nextafter(values[-1], np.float32(np.inf))
                first_right = np.append(values, beyond)[after]
                below = np.nextafter(moved(first_right, values).astype(np.float32), np.float32(-np.inf))
                nodes["num_threshold"][chosen] = below


def to_onnx(fitted: Fitted, schema: FeatureSchema) -> bytes:
    """Return the ONNX model: float32 rows × features, NaN for missing, to float32 rows × outputs."""
    bases = np.concatenate([np.ravel(estimator._baseline_prediction) for estimator in fitted])
    trees = [leaf(float(value), target) for target, value in enumerate(bases)]
    for start, estimator in enumerate(fitted):
        positions, sets = _positions(schema), _sets(estimator)
        outputs = len(bases) // len(fitted)
        trees += [
            _tree(tree, positions, sets, start + index % outputs) for index, tree in enumerate(_predictors(estimator))
        ]
    link = _LINKS.get(schema.objective.name, "identity")
    return model_bytes([ensemble(trees, len(bases))], [], len(schema.features), len(bases), link)


def _sets(estimator: Any) -> list[NDArray[np.float64]]:
    """Return the categories of training by the number of the feature in the trees, in the order of the library's own codes."""
    if estimator._preprocessor is None:
        return []
    known = estimator._preprocessor.named_transformers_["encoder"].categories_
    return [codes[~np.isnan(codes)] for codes in known]


def _tree(tree: Any, positions: NDArray[np.int64], sets: list[NDArray[np.float64]], target: int) -> Tree:
    nodes = tree.nodes
    is_leaf = nodes["is_leaf"] == 1
    left, right = (np.where(is_leaf, -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
    missing_left = nodes["missing_go_to_left"].astype(np.int64)
    thresholds = np.nextafter(nodes["num_threshold"].astype(np.float32), np.float32(np.inf))
    members: dict[int, list[float]] = {}
    for node in np.flatnonzero(~is_leaf & (nodes["is_categorical"] == 1)).tolist():
        known, words = sets[int(nodes["feature_idx"][node])], tree.raw_left_cat_bitsets[nodes["bitset_idx"][node]]
        codes = np.arange(len(known))
        goes_left = (words[codes // _WORD] >> (codes % _WORD).astype(np.uint32)) & 1 == 1
        # Unknown categories go the way of missing ones, so the set holds the categories that go the other way.
        if not missing_left[node]:
            left[node], right[node] = right[node], left[node]
            missing_left[node] = 1
            goes_left = ~goes_left
        members[node] = known[~goes_left].tolist()
    values = np.where(is_leaf, nodes["value"].astype(np.float32), thresholds)
    return Tree(left, right, positions[nodes["feature_idx"]], values, missing_left, members, target)


def scores(fitted: Fitted, matrix: Matrix, schema: FeatureSchema) -> NDArray[np.float64]:
    """Return the scores of scikit-learn; quantiles, which separate models may let cross, in ascending order."""
    if TASKS[schema.task].has_quantiles:
        return np.sort(np.stack([estimator.predict(matrix) for estimator in fitted], axis=1), axis=1)
    (estimator,) = fitted
    found: NDArray[np.float64] = (
        estimator.predict(matrix) if TASKS[schema.task].is_number else estimator.predict_proba(matrix)
    )
    return found[:, 1] if TASKS[schema.task].has_positive else found


def margins(fitted: Fitted, matrix: Matrix, schema: FeatureSchema) -> NDArray[np.float64]:
    """Return the sums of the trees."""
    (estimator,) = fitted
    sums: NDArray[np.float64] = estimator._raw_predict(matrix)
    return sums if TASKS[schema.task].has_many_labels else sums[:, 0]


def importance(fitted: Fitted, _rows: Rows, schema: FeatureSchema) -> dict[str, float]:
    """Return each feature's share of the total gain; 0 for one that no tree uses."""
    gains = np.zeros(len(schema.features))
    for estimator in fitted:
        positions = _positions(schema)
        for tree in _predictors(estimator):
            split = tree.nodes[tree.nodes["is_leaf"] == 0]
            np.add.at(gains, positions[split["feature_idx"]], split["gain"])
    return dict(zip(schema.feature_names, (gains / (gains.sum() or 1.0)).tolist(), strict=True))


def files(_fitted: Fitted) -> dict[str, bytes]:
    """Return none: scikit-learn's own form is a pickle."""
    return {}
