"""The effect of each feature on the scores of hold-out rows: the contributions that XGBoost itself gives for the trained trees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.model import transforms
from contract.model.predictor import Predictor
from contract.schema.schema import FeatureSchema
from contract.schema.tasks import TASKS
from pipelines import paths
from pipelines.data import tables
from pipelines.stages.evaluate.holdout import Holdout
from pipelines.statistics import comparisons
from pipelines.statistics.bounds import widened
from pipelines.statistics.comparisons import draws

Values = NDArray[np.float64]
BOOSTER = "model.ubj"
_ROWS = 500  # exact contributions of 116 trees take a millisecond a row
_DIGITS = 4  # the next ones depend on the processor
_SCALES = {
    "logistic": "log-odds",
    "softmax": "log scale, mean over the labels",
    "poisson": "log scale",
    "gamma": "log scale",
    "tweedie": "log scale",
}


def effects(held: Holdout, predictor: Predictor, family: str, *, resamples: int, seed: int) -> dict[str, Any] | None:
    """Return the effect of each feature on a sample of the hold-out, largest first; None for a model that XGBoost did not make.

    Returns:
        `scale` of the contributions, `rows`, `clusters`, `unit`, and `features`: each with `mean_absolute` contribution, and the
        `direction`, the rank correlation of value and contribution: null for categories, and where it depends on the label.
    """
    if not (path := paths.BOOSTED / BOOSTER).exists():
        return None
    picked = _sample(len(held.outcomes), seed)
    rows = tables.encodable(held.table[picked], [field.name for field in predictor.schema.fields])
    matrix = predictor.encoder.encode_table(rows)
    clusters = np.unique(held.clusters[picked], return_inverse=True)[1]
    found = contributions(path, matrix)
    has_labels = TASKS[predictor.schema.task].has_many_labels
    # Of several labels the mean, of several quantiles the middle one.
    absolute = np.abs(found).mean(axis=1) if has_labels else np.abs(found[:, found.shape[1] // 2])
    signed = None if has_labels else found[:, found.shape[1] // 2]
    directed = [signed is not None and transforms.codes(feature) is None for feature in predictor.schema.features]
    columns = [_sums(np.ones(len(picked)), absolute, clusters)]
    if signed is not None:
        columns += [_moments(matrix[:, at], signed[:, at], clusters) for at in np.flatnonzero(directed)]
    sums = np.concatenate(columns, axis=1)
    # One product for all features: drawing takes longer than all of it.
    drawn = np.concatenate([weights @ sums for weights in draws(len(sums), resamples, seed)])
    means, moments = np.split(drawn, [1 + len(directed)], axis=1)
    correlations = iter(np.split(moments, sum(directed), axis=1) if any(directed) else ())
    entries = [
        {
            "feature": feature.name,
            "mean_absolute": _rounded(np.maximum(widened(means[:, 1 + at] / means[:, 0], len(sums)), 0.0)),
            "direction": _correlated(next(correlations), len(sums)) if is_directed else None,
        }
        for at, (feature, is_directed) in enumerate(zip(predictor.schema.features, directed, strict=True))
    ]
    return {
        "scale": _scale(predictor.schema, family),
        "rows": len(picked),
        "clusters": int(clusters.max()) + 1,
        "unit": held.unit,
        "features": sorted(entries, key=lambda entry: (-entry["mean_absolute"]["figure"], entry["feature"])),
    }


def contributions(model: Path, matrix: NDArray[np.float32]) -> Values:
    """Return the contributions of the features to the margins, of shape (rows, outputs, features).

    With the model's bias, those of a row sum to its margin: the score before link and calibration.

    Source: Lundberg et al. 2020, From local explanations to global understanding with explainable AI for trees.
    """
    import xgboost

    found = xgboost.Booster(model_file=str(model)).predict(xgboost.DMatrix(matrix), pred_contribs=True)
    by_output = found[:, None] if found.ndim == 2 else found
    without_bias: Values = by_output[..., :-1].astype(np.float64)
    return without_bias


def _sample(rows: int, seed: int) -> NDArray[np.int64]:
    if rows <= _ROWS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, _ROWS, replace=False))


def _sums(counts: Values, values: Values, clusters: NDArray[np.int64]) -> Values:
    """Return by cluster the sums of the counts and of each column of the values."""
    size = int(clusters.max()) + 1
    return np.stack([np.bincount(clusters, column, size) for column in (counts, *values.T)], axis=1)


def _moments(values: NDArray[np.float32], contributed: Values, clusters: NDArray[np.int64]) -> Values:
    """Return by cluster the sums from which a rank correlation follows, over the rows with a value."""
    known = ~np.isnan(values)
    x, y = np.zeros(len(values)), np.zeros(len(values))
    x[known], y[known] = _ranks(values[known]), _ranks(contributed[known])
    return _sums(known.astype(np.float64), np.stack([x, y, x * x, y * y, x * y], axis=1), clusters)


def _correlated(moments: Values, clusters: int) -> dict[str, float] | None:
    """Return the rank correlation with its bounds; None where one of the two is constant."""
    count, sum_x, sum_y, sum_xx, sum_yy, sum_xy = moments.T
    spread = np.maximum((count * sum_xx - sum_x**2) * (count * sum_yy - sum_y**2), 0.0)
    if spread[0] <= 1e-9 * count[0] ** 4:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):  # a resampling in which one of the two is constant
        found = (count * sum_xy - sum_x * sum_y) / np.sqrt(spread)
    found[~np.isfinite(found)] = np.nan
    return _rounded(np.clip(widened(found, clusters), -1.0, 1.0))


def _ranks(values: NDArray[Any]) -> Values:
    """Return mean ranks, between -1 and 1: equal values get equal ones."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    ranks: Values = 2 * middle[inverse] / len(values) - 1
    return ranks


def _rounded(values: Values) -> dict[str, float]:
    return {name: float(f"{value:.{_DIGITS}g}") for name, value in comparisons.bounded(values).items()}


def _scale(schema: FeatureSchema, family: str) -> str:
    if family == "forest":
        return "share" if schema.target.labels else schema.target.unit or "units of the target"
    return _SCALES.get(schema.objective.name, schema.target.unit or "units of the target")
