"""From a table of text to what params.yaml would say of it, and all that is not sure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from contract.errors import ConfigurationError
from pipelines import splits
from pipelines.draft import inference, outcome, partitions, suspects, times
from pipelines.draft.inference import Guess
from pipelines.params import TemporalSplit

_FEW_ROWS = 2000


@dataclass
class Draft:
    """What a params.yaml would say, under the names of the source.

    Attributes:
        columns: those that are declared.
        left_out: by column of the source, why it is not; null: it became a part of the time.
        safe: by column of the source, its name in params.yaml.
        doubts: what a person must decide, by section of params.yaml; a column has its own.
    """

    name: str
    source: dict[str, Any]
    months: list[str]
    time: str | None
    key: list[str]
    columns: list[Guess]
    left_out: dict[str, str]
    safe: dict[str, str]
    target: dict[str, Any]
    bounds: dict[str, Any]
    split: dict[str, Any]
    doubts: dict[str, list[str]] = field(default_factory=dict)

    @property
    def doubt_count(self) -> int:
        return (
            len(self.left_out) + sum(map(len, self.doubts.values())) + sum(len(entry.unsure) for entry in self.columns)
        )


def draft(table: pl.DataFrame, source: dict[str, Any], name: str, target: str, time: list[str]) -> Draft:
    """Everything that a table tells; `source` as it was read, `time` the columns that are the time of a row together.

    Raises:
        ConfigurationError: the target cannot be predicted, the time cannot be read, or no column is left to learn from.
    """
    found = times.find(table, time, target)
    months = partitions.months_of(found.table, found.time, target)
    is_in = months.of_row.is_in(months.names).fill_null(False)
    rows, of_row = found.table.filter(is_in), months.of_row.filter(is_in)
    wanted = outcome.guess_outcome(rows[target])
    guesses = _guesses(rows, found, target)
    leaks = suspects.leak_suspects([entry for entry in guesses if not entry.is_left_out], wanted)
    useless = {entry.name: entry.unsure[0] for entry in guesses if entry.is_left_out}
    left_out = {entry.name: (useless | leaks)[entry.name] for entry in guesses if entry.name in useless | leaks}
    kept = [entry for entry in guesses if entry.name not in left_out]
    if not any(entry.kind in ("number", "boolean", "category", "timestamp") for entry in kept):
        raise ConfigurationError(
            "no column is left to learn from: each is an identifier, constant, or tells the target"
        )
    suspects.mark_twins(kept)
    partitions.set_missing(kept, wanted, of_row)
    reviewed, unsure_drift = partitions.watch_months(kept, wanted, of_row)
    bounds = partitions.sizes(wanted, of_row) | ({"reviewed": reviewed} if reviewed else {})
    key, unsure_key = suspects.key_of(kept, wanted, found.time)
    split, unsure_split = _split(months, found, rows, target)
    safe = _safe_names([*(entry.name for entry in kept), target])
    doubts = {
        "source": _unsure_source(source, found),
        "months": months.doubts,
        "time": _unsure_time(found, rows, kept),
        "key": unsure_key,
        "target": wanted.unsure,
        "validate": ["half and double of what was seen: what is possible?", *unsure_drift],
        "split": unsure_split + _unsure_groups(kept, split) + _unsure_size(rows),
    }
    source = source | _shape(found, left_out, safe, table.columns)
    target_keys = wanted.declared | {"column": safe[target]}
    return Draft(
        name, source, months.names, found.time, key, kept, left_out, safe, target_keys, bounds, split, doubts
    )  # fmt: skip


def _guesses(rows: pl.DataFrame, found: times.Times, target: str) -> list[Guess]:
    guesses = []
    for column in rows.get_columns():
        if column.name == found.time:
            guesses.append(Guess(column.name, {"kind": "timestamp"}, column, found.doubts.get(column.name, [])))
        elif column.name != target and column.name not in found.parts:
            entry = inference.guess(column)
            entry.unsure += found.doubts.get(column.name, [])
            guesses.append(entry)
    return guesses


def _shape(found: times.Times, left_out: dict[str, str], safe: dict[str, str], columns: list[str]) -> dict[str, Any]:
    """`combine`, `rename` and `drop`: a combined column has its name in params.yaml from the start."""
    combine = {safe[name]: entry for name, entry in found.combine.items() if name in safe}
    read = [name for entry in combine.values() for name in entry["columns"] if name not in combine]
    drop = [name for name in columns if name in left_out or name in found.parts or name in read]
    rename = {name: new for name, new in safe.items() if name != new and name in columns and name not in drop}
    return {key: value for key, value in (("combine", combine), ("drop", drop), ("rename", rename)) if value}


def _split(
    months: partitions.Months, found: times.Times, rows: pl.DataFrame, target: str
) -> tuple[dict[str, Any], list[str]]:
    if found.time is None:
        return {"kind": "stratified", "holdout": 0.2, "validation": 0.15, "seed": 1}, []
    count = len(months.names)
    holdout, validation = ("1mo", "1mo" if count > 5 else "10d") if count > 1 else ("7d", "5d")
    split = TemporalSplit(kind="temporal", holdout=holdout, validation=validation)
    bounds = splits.boundaries(months.names, split)
    moments = times.moments(rows.drop_nulls(target)[found.time])
    parts = {
        "training": moments < bounds.training_end,
        "validation": moments.is_between(bounds.validation, bounds.validation_end, closed="left"),
        "hold-out": moments >= bounds.holdout,
    }
    empty = [name for name, rows_of in parts.items() if not rows_of.any()]
    doubts = [
        f"no row with a label lies in the {name} part, and features will stop: which periods fit?" for name in empty
    ]
    return {"kind": "temporal", "holdout": holdout, "validation": validation}, doubts


def _unsure_source(source: dict[str, Any], found: times.Times) -> list[str]:
    doubts = []
    if tokens := source.get("missing"):
        doubts.append(f"does {' or '.join(map(repr, tokens))} stand for a missing value, in every column?")
    if source.get("decimal") == ",":
        doubts.append("numbers are written with a comma: is that so in every file?")
    if source.get("encoding") == "cp1252":
        doubts.append("the text is no UTF-8, and cp1252 is a guess: are letters such as ä and é right?")
    if found.parts:
        doubts.append(
            f"{', '.join(found.parts)} are the time of a row now, and no columns of their own: are they needed?"
        )
    return doubts


def _unsure_time(found: times.Times, rows: pl.DataFrame, kept: list[Guess]) -> list[str]:
    timestamps = [
        entry.name for entry in kept if entry.kind == "timestamp" and entry.name not in (found.time, *found.combine)
    ]
    timestamps += [entry.name for entry in kept if entry.name in found.combine and entry.name != found.time]
    numbers = [entry.name for entry in kept if entry.kind == "number"]
    named = times.suspects(rows, timestamps, numbers)
    if found.time is None:
        if not named:
            return ["no column looks like the time of a row: is there none?"]
        told = " or ".join(f"--time {columns}" for columns in named)
        return [
            f"is one of these the time of a row? Then draft again with {told}, and no row of the future is learned from"
        ]
    return [f"{name} is a time, too: was it known before the outcome?" for name in timestamps]


def _unsure_groups(kept: list[Guess], split: dict[str, Any]) -> list[str]:
    if split["kind"] != "stratified":
        return []
    return [
        f"rows share values of {name}: do they belong together? Then split.kind: grouped, column: {name}"
        for name in suspects.groups_of(kept)
    ]


def _unsure_size(rows: pl.DataFrame) -> list[str]:
    if rows.height >= _FEW_ROWS:
        return []
    return [
        f"only {rows.height} rows: a linear model may do as well by chance, and evaluate then refuses the model. Is that no loss? "
        "Then gates.linear_margin"
    ]


def _safe_names(names: Iterable[str]) -> dict[str, str]:
    """Each as params.yaml takes it, no two alike."""
    safe: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"^(?=[^A-Za-z_]|$)", "_", re.sub(r"[^A-Za-z0-9_.-]", "_", name))[:90]
        number, unique = 2, plain
        while unique in safe.values():
            number, unique = number + 1, f"{plain}_{number}"
        safe[name] = unique
    return safe
