"""Times as expressions on columns of text, as `contract.schema.kinds` reads them: for `draft`, which looks for the format of a column."""

from __future__ import annotations

from functools import partial

import polars as pl

from contract.schema.schema import Field
from pipelines.columns import kinds

_FIELD = Field("", "timestamp")


def parse(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:  # noqa: ARG001
    """Microseconds since 1970 as a timestamp, in UTC where the value has an offset; null where it is no time in ISO 8601."""
    return column.map_batches(partial(_moments, field=_FIELD), return_dtype=pl.Datetime("us"), is_elementwise=True)


def parse_format(column: pl.Expr, pattern: str) -> pl.Expr:
    """The same of text in a format of strftime."""
    field = Field("", "timestamp", format=pattern)
    return column.map_batches(partial(_moments, field=field), return_dtype=pl.Datetime("us"), is_elementwise=True)


def _moments(values: pl.Series, field: Field) -> pl.Series:
    return kinds.moments(values, field).struct.field("at")
