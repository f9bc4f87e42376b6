"""Times as tables write them: ISO 8601 text, dates and timestamps, as moments without an offset.

A time that carries an offset or a zone is turned into UTC, so its months are those of UTC; a time without one stays as it is.
"""

from __future__ import annotations

import polars as pl

# %.f takes no fraction, too; %#z an offset with or without a colon.
_LOCAL = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")
_OFFSET = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z")


def parse(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Microseconds since 1970 as a timestamp; null where the value is no time.

    The formats are tried value by value, so that what one value gives depends on no other one.
    """
    if dtype == pl.String:
        return _parse_text(column)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return column.cast(pl.Datetime("us"), strict=False)


def parse_format(column: pl.Expr, pattern: str) -> pl.Expr:
    """Text in a format of strftime; a format with hours and no minutes means full hours."""
    if "%H" in pattern and not any(part in pattern for part in ("%M", "%T", "%R")):
        column, pattern = pl.concat_str(column, pl.lit(" :00")), f"{pattern} :%M"
    if any(part in pattern for part in ("%z", "%#z", "%:z")):
        return column.str.to_datetime(pattern, time_unit="us", strict=False).dt.replace_time_zone(None)
    return column.str.to_datetime(pattern, time_unit="us", strict=False)


def _parse_text(column: pl.Expr) -> pl.Expr:
    text = column.str.strip_chars().str.replace(r"^(\d{4}-\d{2}-\d{2}) +", "${1}T").str.replace("[Zz]$", "+00:00")
    text = text.str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1}T00:00").str.replace(r"([+-]\d{2})$", "${1}:00")
    text = text.str.replace(r" +([+-])", "${1}")
    return pl.coalesce(
        *(text.str.to_datetime(pattern, time_unit="us", strict=False) for pattern in _LOCAL),
        *(
            text.str.to_datetime(pattern, time_unit="us", time_zone="UTC", strict=False).dt.replace_time_zone(None)
            for pattern in _OFFSET
        ),
    )
