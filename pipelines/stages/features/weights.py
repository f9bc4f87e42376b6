"""How much each row counts in training: its own weight times that of its label; pure functions."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.errors import ConfigurationError
from pipelines.params.params import TargetParams

Weights = NDArray[np.float32]


def weights(target: TargetParams, given: pl.Series | None, outcomes: pl.Series, is_used: pl.Series) -> Weights | None:
    """Return the weight of each row of the table, or None where all count the same; it is 0 in rows that are not used.

    Args:
        given: the column `target.weight`, if there is one.
        outcomes: of each row the index of the label, or the number.
        is_used: the rows for training and validation.

    Raises:
        ConfigurationError: a used row has no weight, a negative one, or one that is not finite; or all are 0.
    """
    if given is None and target.class_weight is None:
        return None
    used = is_used.to_numpy()
    found = np.ones(len(used)) if given is None else _checked(given, used)
    if target.class_weight is not None:
        codes = outcomes.filter(is_used).to_numpy().astype(np.int64)
        found[used] *= _by_label(target, codes)[codes]
    found[~used] = 0
    return found.astype(np.float32)


def _checked(given: pl.Series, used: NDArray[np.bool_]) -> NDArray[np.float64]:
    found = given.cast(pl.Float64).to_numpy().copy()
    wrong = used & ~((found >= 0) & np.isfinite(found))
    if wrong.any():
        first = found[wrong][0]
        value = "missing" if np.isnan(first) else f"{first:g}"
        raise ConfigurationError(
            f"target.weight is {given.name!r}, which is missing, negative or infinite in {int(wrong.sum()):,} rows (the first: {value}); "
            "allowed: numbers from 0"
        )
    if not found[used].any():
        raise ConfigurationError(
            f"target.weight is {given.name!r}, which is 0 in every row; allowed: numbers from 0, some above"
        )
    return found


def _by_label(target: TargetParams, codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the weight of each label; balanced ones give each label the same sum, and the rows their number."""
    if isinstance(target.class_weight, dict):
        return np.array([target.class_weight.get(label, 1.0) for label in target.labels])
    counts = np.bincount(codes, minlength=len(target.labels))
    balanced: NDArray[np.float64] = len(codes) / (len(counts) * counts)
    return balanced
