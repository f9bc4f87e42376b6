"""The history of a partition, computed from the accepted rows of it and those before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from pipelines import paths
from pipelines.data import tables
from pipelines.data.history import columns
from pipelines.params.features.history import HistoryFeature
from pipelines.params.params import Data, TargetParams


def of_month(month: str, features: Mapping[str, HistoryFeature], data: Data, target: TargetParams) -> pl.DataFrame:
    """Return the history of the accepted rows of a month, from them and those of earlier months alone; no columns without features."""
    if not features:
        return pl.DataFrame()
    rows = tables.read(paths.accepted(month), columns.needed(features, data))
    earlier = [paths.accepted(other) for other in data.months if other < month]
    return columns.compute(rows, _in_reach(earlier, rows, features, data), features, data, target)


def _in_reach(
    earlier: Sequence[Path], rows: pl.DataFrame, features: Mapping[str, HistoryFeature], data: Data
) -> pl.DataFrame:
    """Return the rows of earlier partitions that were known, or opened, within the reach of a window of `rows`."""
    first = rows.select(pl.col(data.clock).min()).item()
    if first is None:
        return rows.clear()
    times = {data.clock, *(feature.known_at for feature in features.values())}
    condition = pl.any_horizontal(pl.col(sorted(times)) >= columns.reach(features, first))
    return pl.concat([rows.clear(), *(tables.read_where(path, rows.columns, condition) for path in earlier)])
