"""The split of the table: training, validation, hold-out, and unused rows.

`features` computes it once and writes it to a file; every other stage reads that, so that no two stages can split differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.errors import ConfigurationError
from contract.schema.tasks import TASKS
from pipelines.data import tables
from pipelines.params.features.transforms import FeatureParams, columns_read
from pipelines.params.judging.split import GroupedSplit, PredefinedSplit, Split, StratifiedSplit, TemporalSplit
from pipelines.params.params import Data, TargetParams

PART = "part"
TRAINING, VALIDATION, HOLDOUT, UNUSED = "training", "validation", "holdout", "unused"
_CODES = np.array([TRAINING, VALIDATION, HOLDOUT, UNUSED])
Draws = NDArray[np.uint64]


class Boundaries(NamedTuple):
    """The boundaries of a temporal split; rows outside its intervals are unused."""

    training_end: datetime
    validation: datetime
    validation_end: datetime
    holdout: datetime
    end: datetime


def assign(
    table: pl.DataFrame, split: Split, data: Data, target: TargetParams, features: Mapping[str, FeatureParams]
) -> pl.Series:
    """Return the part of every row, in the order of the table.

    Random parts depend on a hash of the row's identity (see `identity`) and the seed, not on the order of rows; only `first` of a
    predefined split does.

    Raises:
        ConfigurationError: the split does not fit the months.
    """
    if isinstance(split, TemporalSplit):
        parts = _temporal(table[str(data.time)], boundaries(data.months, split))
    elif isinstance(split, StratifiedSplit):
        rows = draws(table, identity(data.key, features), split.seed)
        parts = _stratified(rows, strata(table, target), split.holdout, split.validation)
    elif isinstance(split, GroupedSplit):
        parts = _grouped(table[split.column], split)
    else:
        parts = _predefined(table, split, identity(data.key, features), target)
    return pl.Series(PART, _CODES[parts], dtype=pl.String)


def columns(split: Split, data: Data, target: TargetParams, features: Mapping[str, FeatureParams]) -> list[str]:
    """Return the columns that `assign` and the outcome need, to read no others."""
    needed = [target.column]
    if isinstance(split, TemporalSplit):
        needed.append(str(data.time))
    elif isinstance(split, GroupedSplit):
        needed.append(split.column)
    else:
        needed += identity(data.key, features)
        if isinstance(split, PredefinedSplit) and split.column is not None:
            needed.append(split.column)
    return list(dict.fromkeys(needed))


def identity(key: Sequence[str], features: Mapping[str, FeatureParams]) -> list[str]:
    """Return the sorted columns that identify a row for a random split: the key, or else those that features read.

    Other columns may be added or removed without moving a row to another part.
    """
    return sorted(set(key) or columns_read(features))


def boundaries(months: Sequence[str], split: TemporalSplit) -> Boundaries:
    """Return the boundaries of training, validation and hold-out.

    Raises:
        ConfigurationError: nothing is left to train on, or a part lies in a hole of the months.
    """
    first, end = tables.month_bounds(months[0])[0], tables.month_bounds(months[-1])[1]
    holdout = tables.offset(end, f"-{split.holdout}")
    validation_end = tables.offset(holdout, f"-{split.gap}") if split.gap else holdout
    validation = tables.offset(validation_end, f"-{split.validation}")
    training_end = tables.offset(validation, f"-{split.gap}") if split.gap else validation
    if training_end <= first:
        gap = f", each after a gap of {split.gap}," if split.gap else ""
        days = max(1, (end - first).days // 5)
        raise ConfigurationError(
            f"split: a hold-out of {split.holdout} and a validation of {split.validation}{gap} leave nothing to train on in "
            f"{months[0]} … {months[-1]}; collect more months (data.months), or shorten them: `holdout: {days}d, validation: {days}d` "
            "would leave three fifths of the time"
        )
    for part, start, until in (("validation", validation, validation_end), ("hold-out", holdout, end)):
        _refuse_hole(months, part, start, until)
    return Boundaries(training_end, validation, validation_end, holdout, end)


def _refuse_hole(months: Sequence[str], part: str, start: datetime, until: datetime) -> None:
    """Raise ConfigurationError if data.months has none of the months of a part."""
    bounds = map(tables.month_bounds, months)
    if not any(first < until and start < last for first, last in bounds):
        raise ConfigurationError(
            f"split: the {part} lies from {start:%Y-%m-%d} to {until:%Y-%m-%d}, where data.months has a hole; lengthen split.holdout or "
            "split.validation beyond it, or collect these months"
        )


def _temporal(times: pl.Series, bounds: Boundaries) -> NDArray[np.int64]:
    time = pl.col(times.name)
    codes = (
        pl.when(time < bounds.training_end)
        .then(0)
        .when(time.is_between(bounds.validation, bounds.validation_end, closed="left"))
        .then(1)
        .when(time.is_between(bounds.holdout, bounds.end, closed="left"))
        .then(2)
        .otherwise(3)
    )
    return times.to_frame().select(codes.cast(pl.Int64)).to_series().to_numpy()


def _stratified(
    draws: Draws, strata: NDArray[np.int64], holdout: float, validation: float, among: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return the codes of parts: in every stratum the smallest draws are held out, the next ones validate.

    Only the rows `among` are split; None means all.
    """
    parts = np.zeros(len(draws), np.int64)
    rows = np.arange(len(draws)) if among is None else among
    for stratum in np.unique(strata[rows]):
        members = rows[strata[rows] == stratum]
        members = members[np.argsort(draws[members], kind="stable")]
        held, validating = round(holdout * len(members)), round(validation * len(members))
        parts[members[:held]] = 2
        parts[members[held : held + validating]] = 1
    return parts


def _grouped(column: pl.Series, split: GroupedSplit) -> NDArray[np.int64]:
    """Return the codes of parts: entities in random order fill the hold-out, then the validation, the rest is training."""
    names = column.cast(pl.String).fill_null("")
    counts = names.value_counts(name="__rows__")
    order = np.argsort(hashes(counts[column.name], split.seed), kind="stable")
    parts: dict[str, int] = {}
    part, filled = 2, 0
    for name, rows in counts[order.tolist()].iter_rows():
        parts[name] = part
        filled += rows
        if part and filled >= (split.holdout if part == 2 else split.validation) * len(column):
            part, filled = part - 1, 0
    return names.replace_strict(parts, return_dtype=pl.Int64).to_numpy()


def _predefined(
    table: pl.DataFrame, split: PredefinedSplit, identity: Sequence[str], target: TargetParams
) -> NDArray[np.int64]:
    held = (
        np.arange(table.height) >= split.first
        if split.first is not None
        else named(table[str(split.column)], split.holdout)
    )
    rows = draws(table, identity, split.seed)
    parts = _stratified(rows, strata(table, target), 0.0, split.validation, among=np.flatnonzero(~held))
    parts[held] = 2
    return parts


def named(column: pl.Series, values: Sequence[str]) -> NDArray[np.bool_]:
    """Return a mask of the rows that have one of the values in `params.yaml`; false where missing."""
    if column.dtype.is_numeric():
        return column.is_in([float(value) for value in values]).fill_null(False).to_numpy()
    return column.cast(pl.String).is_in(list(values)).fill_null(False).to_numpy()


def strata(table: pl.DataFrame, target: TargetParams) -> NDArray[np.int64]:
    """Return the stratum of each row: the label's number, -1 for none; a regression has one for all numbers."""
    labels = tables.outcomes(table, target)
    if TASKS[target.task].is_number:
        return labels.is_null().cast(pl.Int64).to_numpy()
    return labels.cast(pl.Int64).fill_null(-1).to_numpy()


def draws(table: pl.DataFrame, columns: Sequence[str], seed: int) -> Draws:
    """Return a number of 64 bits for each row, which depends only on its values in these columns and the seed."""
    # Joined by the unit separator, which texts hardly contain, so that ("ab", "c") and ("a", "bc") differ.
    texts = [pl.col(name).cast(pl.String).fill_null("") for name in columns]
    return hashes(table.select(pl.concat_str(texts, separator="\x1f")).to_series(), seed)


def hashes(texts: pl.Series, seed: int) -> Draws:
    """Return a number of 64 bits for each text."""
    salt = seed.to_bytes(16, "little", signed=True)
    digests = b"".join(blake2b(text.encode(), digest_size=8, salt=salt).digest() for text in texts.to_list())
    return np.frombuffer(digests, "<u8").astype(np.uint64)
