"""Clusters of rows that share what happened: resampling draws whole ones, for rows of a day are not independent."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.params.judging.split import GroupedSplit, Split

Clusters = NDArray[np.int64]
Unit = Literal["days", "entities", "rows"]


def clusters_of(table: pl.DataFrame, time: str | None, split: Split) -> tuple[Clusters, Unit]:
    """Return the cluster of each row, numbered from 0 without gaps, and the unit of resampling.

    With a time, clusters are calendar days: rows of one day share what happened on it. Else they are the entities by which the
    table is split, else single rows.
    """
    if time is not None:
        return _numbered(table[time].dt.date().to_physical().to_numpy()), "days"
    if isinstance(split, GroupedSplit):
        return _numbered(table[split.column].cast(pl.String).fill_null("").to_numpy()), "entities"
    return np.arange(table.height), "rows"


def behind(clusters: Clusters, labels: NDArray[Any] | None = None) -> int:
    """Return the number of clusters behind a figure of these rows: of ROC-AUC, that with the rarer of two labels.

    Args:
        labels: 0 or 1, for ROC-AUC, which ten days know nothing of if one of them alone has a positive.
    """
    if labels is None:
        return len(np.unique(clusters))
    return min(len(np.unique(clusters[labels == label])) for label in (0, 1))


def _numbered(values: NDArray[Any]) -> Clusters:
    """Return the number of each value among the distinct ones, in ascending order."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)
