"""Answers as columns, equal to a caller's to the last bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from contract.schema.tasks import TASKS


def columns(task: str, names: Sequence[str], threshold: float | None, scores: Any) -> dict[str, Any]:
    """Return the columns of an answer, by the form of the task.

    `__probability__` and `__predicted_label__`; `__probability__:LABEL` for each label where each has one; `__value__`; or
    `__quantile__:LEVEL`.

    Args:
        names: the labels, or the levels of quantiles.
        threshold: binary: the lowest probability of the positive label.
        scores: float64, rows × scores.
    """
    form = TASKS[task]
    if form.has_quantiles:
        return {f"__quantile__:{level}": scores[:, at].copy() for at, level in enumerate(names)}
    if form.is_number:
        return {"__value__": scores[:, 0].copy()}
    if form.has_positive:
        chosen = (scores[:, 0] >= threshold).astype(np.int64)
        chances = {"__probability__": scores[:, 0].copy()}
    else:
        chosen = scores.argmax(axis=1)
        chances = {f"__probability__:{label}": scores[:, at].copy() for at, label in enumerate(names)}
    return chances | {"__predicted_label__": pl.Series(list(names), dtype=pl.String).gather(chosen)}
