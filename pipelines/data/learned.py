"""The rule that separates a model's training rows from all others without naming any; pure functions.

A model's manifest carries the rule of its split. A later run, with another split or a larger table, finds by it the rows of *its*
hold-out that the live model has never seen. The rule consists of bounds, seeds and columns, so it does not reveal whether a row was in
the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.data import splits, tables
from pipelines.data.splits import Draws
from pipelines.params.column import Column
from pipelines.params.features.transforms import FeatureParams
from pipelines.params.judging.split import GroupedSplit, PredefinedSplit, Split, TemporalSplit
from pipelines.params.params import Data, TargetParams

Rows = NDArray[np.bool_]
_NONE_LEARNED = 1 << 64


class UnknownRowsError(Exception):
    """A rule that does not apply to this table, for the reason in the message."""


def rule(
    table: pl.DataFrame,
    parts: pl.Series,
    split: Split,
    data: Data,
    target: TargetParams,
    features: Mapping[str, FeatureParams],
) -> dict[str, Any]:
    """Return the rule that separates the training and validation rows from all others.

    Returns:
        The kind, the columns that it reads with their kinds, and
        `until` of a temporal split: learned rows are earlier, or
        `seed` and `bound` (by stratum, or of the entities): learned rows have draws from the bound on, or
        `holdout` (values) or `first` (rows, and a digest of their outcomes) of a predefined split.
    """
    if isinstance(split, TemporalSplit):
        until = splits.boundaries(data.months, split).validation_end
        return _rule("temporal", [str(data.time)], data.columns, until=until.isoformat())
    learned = parts.is_in([splits.TRAINING, splits.VALIDATION]).to_numpy()
    if isinstance(split, GroupedSplit):
        found = splits.hashes(_entities(table, split.column), split.seed)
        return _rule("grouped", [split.column], data.columns, seed=split.seed, bound=_bound(found, learned))
    if isinstance(split, PredefinedSplit):
        if split.first is None:
            return _rule("predefined", [str(split.column)], data.columns, holdout=list(split.holdout))
        return _rule("first", [], data.columns, first=split.first, outcomes=_digest(table, target, split.first))
    columns, strata = splits.identity(data.key, features), splits.strata(table, target)
    found = splits.draws(table, columns, split.seed)
    bounds = {str(code): _bound(found[strata == code], learned[strata == code]) for code in np.unique(strata)}
    return _rule("stratified", columns, data.columns, seed=split.seed, bound=bounds)


def apply(found: Any, table: pl.DataFrame, columns: Mapping[str, Column], target: TargetParams) -> Rows:
    """Return a mask of the rows that a model with this rule may have learned from.

    Raises:
        UnknownRowsError: there is no rule, or the table lacks a column that it reads.
    """
    if not isinstance(found, dict) or "kind" not in found:
        raise UnknownRowsError("its manifest does not say which rows it has learned from")
    for name, kind in found["columns"].items():
        if name not in columns or columns[name].kind != kind:
            raise UnknownRowsError(
                f"its rows were split by {name!r}, of kind {kind}, which data.columns no longer has so"
            )
    names = list(found["columns"])
    if found["kind"] == "temporal":
        earlier: Rows = (table[names[0]] < datetime.fromisoformat(found["until"])).fill_null(True).to_numpy()
        return earlier
    if found["kind"] == "grouped":
        return _from(splits.hashes(_entities(table, names[0]), found["seed"]), found["bound"])
    if found["kind"] == "predefined":
        return np.logical_not(splits.named(table[names[0]], found["holdout"]))
    if found["kind"] == "first":
        if _digest(table, target, found["first"]) != found["outcomes"]:
            raise UnknownRowsError("its rows were split by their order, and the table has another one now")
        return np.less(np.arange(table.height), found["first"])
    draws, strata = splits.draws(table, names, found["seed"]), splits.strata(table, target)
    learned = np.ones(table.height, np.bool_)
    for code, bound in found["bound"].items():
        learned[strata == int(code)] = _from(draws[strata == int(code)], bound)
    return learned


def _rule(kind: str, names: list[str], columns: Mapping[str, Column], **more: Any) -> dict[str, Any]:
    return {"kind": kind, "columns": {name: columns[name].kind for name in names}, **more}


def _entities(table: pl.DataFrame, column: str) -> pl.Series:
    return table[column].cast(pl.String).fill_null("")


def _bound(draws: Draws, learned: Rows) -> int:
    """Return the roundest number above the draws of all other rows, and not above that of a learned row.

    A draw itself would be a hash of somebody's row. If equal rows are on both sides, the bound keeps half of the hash, and they count as
    learned.
    """
    first = int(draws[learned].min()) if learned.any() else _NONE_LEARNED
    last = int(draws[~learned].max()) if not learned.all() else -1
    if last < 0:
        return 0
    if last >= first:
        return first >> 32 << 32
    return first >> (bits := (first ^ last).bit_length() - 1) << bits


def _from(draws: Draws, bound: int) -> Rows:
    learned: Rows = np.ones(len(draws), np.bool_) if bound == 0 else draws > np.uint64(bound - 1)
    return learned


def _digest(table: pl.DataFrame, target: TargetParams, rows: int) -> str:
    outcomes = tables.outcomes(table, target).head(rows).cast(pl.Float64).fill_null(float("nan"))
    return sha256(outcomes.to_numpy().tobytes()).hexdigest()
