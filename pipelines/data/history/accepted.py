"""The accepted rows with their history, which the stage `features` computed."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipelines import paths
from pipelines.data import tables


def read(months: Sequence[str], names: Sequence[str] | None = None) -> pl.DataFrame:
    """Return the accepted rows of these months with their history, or some of these columns."""
    return pl.concat([_read(month, names) for month in months])


def _read(month: str, names: Sequence[str] | None) -> pl.DataFrame:
    path = paths.history(month)
    computed = [name for name in (tables.columns_in(path) if path.is_file() else ()) if names is None or name in names]
    declared = None if names is None else [name for name in names if name not in computed]
    rows = tables.read(paths.accepted(month), declared)
    return rows.hstack(tables.read(path, computed)) if computed else rows
