"""The group of every row, by the value of a column, a bin, a part of a timestamp, or two of them crossed; pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.model.transforms import CALENDAR_PARTS
from pipelines.params.column import Column
from pipelines.params.judging.evaluate import Groups, Slice

MISSING = "(missing)"
# Roles of groups in the stored predictions, before the name of the groups.
SLICE, PROTECTED, SEARCHED = "slice.", "protected.", "searched."
_QUARTERS = 4
_FEW_VALUES = 10  # a number with no more is grouped by value


def all_groups(
    table: pl.DataFrame, slices: Sequence[Slice], columns: Mapping[str, Column], *, search: bool
) -> dict[str, pl.Series]:
    """Return the groups of every row by role and name: declared slices, protected columns, and columns to search for weak slices."""
    found = {f"{SLICE}{entry.name}": of_slice(table, entry) for entry in slices}
    alone = {entry.column: entry for entry in reversed(slices) if entry.cross is None}
    for name, column in columns.items():
        if column.protected:
            declared = alone.get(name)
            found[f"{PROTECTED}{name}"] = of_rows(table[name], declared or _by_default(table[name], name))
    if search:
        found |= {f"{SEARCHED}{entry.name}": of_rows(table[entry.column], entry) for entry in _searched(table, columns)}
    return found


def of_slice(table: pl.DataFrame, entry: Slice) -> pl.Series:
    """Return the slice of each row; a crossed one is named by both values, such as `EWR, UA`."""
    found = [of_rows(table[groups.column], groups) for groups in entry.groups]
    if entry.cross is None:
        return found[0]
    one, other = (names_of(groups) for groups in found)
    codes = codes_of(found[0]) * len(other) + codes_of(found[1])
    return _named(codes, [f"{left}, {right}" for left in one for right in other])


def names_of(groups: pl.Series) -> list[str]:
    """Return the names of the groups, by code."""
    return groups.dtype.categories.to_list() if isinstance(groups.dtype, pl.Enum) else []


def codes_of(groups: pl.Series) -> NDArray[np.int64]:
    """Return the code of each row's group."""
    return groups.to_physical().to_numpy().astype(np.int64)


def of_rows(column: pl.Series, entry: Groups) -> pl.Series:
    """Return the group of each row as an enumeration, in ascending order; that of a row without a value comes last."""
    if entry.edges is not None or entry.quantiles is not None:
        return _bins(column, entry)
    if entry.part is not None:
        read, _ = CALENDAR_PARTS[entry.part]
        column = pl.Series([None if at is None else f"{read(at):02d}" for at in column.to_list()], dtype=pl.String)
    known = column.unique().drop_nulls().sort()
    if column.dtype.is_float():
        names = [f"{value:.12g}" for value in known]
        codes: NDArray[Any] = np.searchsorted(known.to_numpy(), column.fill_null(np.inf).to_numpy())
    else:
        names = [text for text in _texts(known) if text is not None]
        order = pl.Enum(names)
        codes = (
            pl.Series(_texts(column), dtype=pl.String)
            .cast(order)
            .to_physical()
            .cast(pl.Int64)
            .fill_null(len(names))
            .to_numpy()
        )
    return _named(codes, [*names, MISSING])


def _texts(column: pl.Series) -> list[str | None]:
    return [
        None if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        for value in column.to_list()
    ]


def _bins(column: pl.Series, entry: Groups) -> pl.Series:
    values = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = values[~np.isnan(values)]
    if entry.edges is not None:
        edges = list(entry.edges)
    else:
        levels = np.arange(1, entry.quantiles or 2) / (entry.quantiles or 2)
        # Rounded for people: bins of 0.3333333 say no more than bins of 0.3333.
        found = np.quantile(known, levels, method="inverted_cdf").tolist() if len(known) else []
        edges = sorted({float(f"{edge:.4g}") for edge in found})
    shown = [f"{edge:.12g}" for edge in edges]
    between = [f"{low} to {high}" for low, high in pairwise(shown)]
    names = [f"below {shown[0]}", *between, f"{shown[-1]} and more"] if shown else ["all"]
    codes = np.searchsorted(edges, values, side="right")
    codes[np.isnan(values)] = len(names)
    return _named(codes, [*names, MISSING])


def _named(codes: NDArray[Any], names: Sequence[str]) -> pl.Series:
    """Return the enumeration of these names without those that no row has."""
    present, renumbered = np.unique(codes, return_inverse=True)
    kept = list(dict.fromkeys(names[code] for code in present))
    return pl.Series([names[code] for code in present], dtype=pl.Enum(kept)).gather(renumbered)


def _by_default(column: pl.Series, name: str) -> Groups:
    if column.dtype.is_float() and column.drop_nulls().n_unique() > _FEW_VALUES:
        return Groups(column=name, quantiles=_QUARTERS)
    return Groups(column=name)


def _searched(table: pl.DataFrame, columns: Mapping[str, Column]) -> Iterator[Groups]:
    """Yield the groups to search: of columns that a request carries, and whose values may be shown."""
    for name, column in columns.items():
        if column.is_later or column.pii or column.utc_of is not None or column.kind == "identifier":
            continue
        if column.kind == "timestamp":
            yield Groups(column=name, part="hour")
            yield Groups(column=name, part="weekday")
        else:
            yield _by_default(table[name], name)
