"""A draft of `params.yaml` from a table of text, with a list of doubts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import polars as pl

from contract.errors import ConfigurationError
from contract.schema.tasks import TASKS
from pipelines.commands.draft.columns import inference, proposals, suspects, times
from pipelines.commands.draft.columns.inference import Guess
from pipelines.commands.draft.doubts import Doubt, Weight, ranked
from pipelines.commands.draft.rows import outcome, partitions, periods
from pipelines.commands.draft.rows.outcome import Outcome
from pipelines.params.params import FRESHNESS

_FEW_ROWS = 2000
_FEWEST_GROUPS = 100  # or a hold-out of a fifth has too few to judge by


@dataclass
class Draft:
    """The contents of a drafted params.yaml.

    Attributes:
        columns: the declared columns, under their names in params.yaml.
        doubts: questions for a person, the most important first.
    """

    name: str
    source: dict[str, Any]
    months: list[str]
    time: str | None
    key: list[str]
    columns: list[Guess]
    target: dict[str, Any]
    bounds: dict[str, Any]
    split: dict[str, Any]
    doubts: list[Doubt]


@dataclass
class _Table:
    """The table under the names of params.yaml, with the names in its source."""

    found: times.Times
    months: partitions.Months
    target: str
    names: dict[str, str]
    rows: pl.DataFrame = field(init=False)
    of_row: pl.Series = field(init=False)

    def __post_init__(self) -> None:
        is_in = self.months.of_row.is_in(self.months.names).fill_null(False)
        self.rows, self.of_row = self.found.table.filter(is_in), self.months.of_row.filter(is_in)


def draft(
    table: pl.DataFrame,
    source: dict[str, Any],
    name: str,
    target: str,
    time: list[str],
    *,
    keep_unfinished: bool = False,
    unread: Mapping[str, str] = MappingProxyType({}),
) -> Draft:
    """Return the draft for a table.

    Args:
        table: all columns as text, by their names in the source.
        source: `data.source`, as far as the reader has inferred it.
        time: the columns that together are the time of a row.
        keep_unfinished: if true, incomplete months are used too.
        unread: the reason why a column of the source is unusable, by its name.

    Raises:
        ConfigurationError: the target cannot be predicted, the time cannot be parsed, or no column is left to learn from.
    """
    safe = _safe_names(table.columns)
    found = times.find(table.rename(safe), [safe[part] for part in time], safe[target])
    months = partitions.months_of(found.table, found.time, safe[target], keep_unfinished=keep_unfinished)
    read = _Table(found, months, safe[target], {new: old for old, new in safe.items()})
    wanted = outcome.guess_outcome(read.rows[read.target])
    guesses = _guesses(read)
    for entry in guesses:
        entry.useless = unread.get(read.names.get(entry.name, entry.name), entry.useless)
    kept = [entry for entry in guesses if entry.useless is None]
    suspects.mark_leaks(kept, wanted)
    if not any(entry.feature() or entry.kind == "timestamp" for entry in kept):
        raise ConfigurationError(
            "no column is left to learn from: each is an identifier, constant, or reveals the target"
        )
    suspects.mark_twins(kept)
    doubts = partitions.set_missing(kept, wanted, read.of_row)
    reviewed, unsure_months = partitions.watch_months(kept, wanted, read.of_row)
    bounds = partitions.sizes(wanted, read.of_row) | ({"reviewed": reviewed} if reviewed else {})
    freshness = None if keep_unfinished else months.freshness
    bounds |= {"freshness": freshness} if found.time and freshness != FRESHNESS else {}
    key, unsure_key = suspects.key_of(kept, wanted, found.time)
    split, unsure_split = _split(read, kept)
    source = source | _shape(read, kept)
    doubts += [*unsure_months, *unsure_key, *unsure_split, *months.doubts, *wanted.doubts, *_about_target(wanted, read)]
    doubts += [
        *_about_source(source, read, guesses),
        *_about_time(read, kept),
        *_about_size(read),
        *_about_rhythm(bounds.get("freshness")),
        *_about_ranges(kept),
        *proposals.propose(kept, wanted, found.time),
    ]
    doubts = ranked([*doubts, *(doubt for entry in kept for doubt in entry.doubts)])
    return Draft(name, source, months.names, found.time, key, kept, wanted.declared, bounds, split, doubts)


def _guesses(read: _Table) -> list[Guess]:
    guesses = []
    for column in read.rows.get_columns():
        if column.name == read.found.time:
            unit = {"unit": read.found.units[column.name]} if column.name in read.found.units else {}
            guesses.append(Guess(column.name, {"kind": "timestamp", **unit}, column))
        elif column.name != read.target and column.name not in read.found.parts:
            guesses.append(inference.guess(column))
    return guesses


def _shape(read: _Table, kept: list[Guess]) -> dict[str, Any]:
    """Return `combine`, `rename` and `drop`; `combine` names its columns as params.yaml does."""
    used, combined = {read.target, *(entry.name for entry in kept)}, read.found.combine
    combine = {
        name: {"columns": [read.names[part] for part in entry["columns"]], "format": entry["format"]}
        for name, entry in combined.items()
        if name in used
    }
    own = [name for name in read.names if name in used and name not in combine]
    drop = [old for new, old in read.names.items() if new not in own and not (new in combine and old == new)]
    rename = {read.names[name]: name for name in own if read.names[name] != name}
    return {key: value for key, value in (("combine", combine), ("drop", drop), ("rename", rename)) if value}


def _split(read: _Table, kept: list[Guess]) -> tuple[dict[str, Any], list[Doubt]]:
    groups = suspects.groups_of(kept)
    stratified = {"kind": "stratified", "holdout": 0.2, "validation": 0.15, "seed": 1}
    grouped = [
        (name, count, {"kind": "grouped", "column": name, "holdout": 0.2, "validation": 0.15, "seed": 1})
        for name, count in groups.items()
    ]
    if read.found.time is not None:
        labelled = times.moments(read.rows.drop_nulls(read.target)[read.found.time])
        split, doubts = periods.propose(labelled, read.months.names)
        return split, doubts + [
            _about_group(
                f"{name} repeats, so a temporal split has it on both sides. Will requests be about new ones only?",
                other,
            )
            for name, count, other in grouped[:1]
            if count >= _FEWEST_GROUPS
        ]
    if grouped and grouped[0][1] >= _FEWEST_GROUPS:
        question = (
            f"rows share values of {grouped[0][0]}, so they are kept on one side of the split. Are they independent?"
        )
        return grouped[0][2], [
            _about_group(question, stratified),
            *(
                _about_group(f"rows share values of {name}, too. Do they belong together?", other)
                for name, _, other in grouped[1:]
            ),
        ]
    return stratified, [
        _about_group(f"rows share values of {name}. Do they belong together?", other) for name, _, other in grouped
    ]


def _about_group(question: str, other: dict[str, Any]) -> Doubt:
    return Doubt("split", f"{question} Then", Weight.FIGURES, keys={"split": other})


def _about_target(wanted: Outcome, read: _Table) -> list[Doubt]:
    if not TASKS[wanted.task].has_positive:
        return []
    other = partitions.rates(wanted.values == wanted.declared["labels"][0], read.of_row)
    return [outcome.positive_of(wanted, other)]


def _about_source(source: Mapping[str, Any], read: _Table, guesses: list[Guess]) -> list[Doubt]:
    told = [
        (Weight.VALUES, f"{read.names.get(entry.name, entry.name)} is left out, as {entry.useless}")
        for entry in guesses
        if entry.useless is not None
    ]
    if tokens := source.get("missing"):
        told.append((Weight.VALUES, f"does {' or '.join(tokens)} stand for a missing value, in every column?"))
    if source.get("decimal") == ",":
        told.append((Weight.VALUES, "numbers have a decimal comma: in every file?"))
    if source.get("encoding") == "cp1252":
        told.append((Weight.VALUES, "the text is not UTF-8, and cp1252 is a guess: are letters such as ä and é right?"))
    if read.found.parts:
        parts = ", ".join(read.names[name] for name in read.found.parts)
        told.append(
            (
                Weight.BOUNDS,
                f"{parts} are combined into the time of a row and no longer columns: are they needed as such?",
            )
        )
    return [Doubt("data.source", question, weight) for weight, question in told] + [
        _about_day(name, source, read) for name in source.get("combine", {}) if name in read.found.swapped
    ]


def _about_day(name: str, source: Mapping[str, Any], read: _Table) -> Doubt:
    """Return the doubt about day and month, which may be swapped; in the time of a row, that would give other months."""
    combine, swapped = source["combine"], read.found.swapped[name]
    question = f"day and month: {swapped} reads every value of {name} as well as {combine[name]['format']}"
    if name == read.found.time:
        return Doubt("data.source", f"{question}, in other months; which one is right?", Weight.FIGURES)
    other = {**combine, name: combine[name] | {"format": swapped}}
    return Doubt("data.source", f"{question}. Is that it? Then", Weight.VALUES, keys={"data.source.combine": other})


def _about_time(read: _Table, kept: list[Guess]) -> list[Doubt]:
    found, timestamps = read.found, [entry.name for entry in kept if entry.kind == "timestamp"]
    others = [name for name in timestamps if name != found.time]
    numbers = [entry.name for entry in kept if entry.kind == "number"]
    if found.time is not None:
        return [
            Doubt(name, "another timestamp. Is it known before the outcome? If not", Weight.FIGURES, feature=None)
            for name in others
        ]
    if not (named := times.suspects(read.rows, others, numbers)):
        return [Doubt("data.time", "no column looks like the time of a row: is there really none?", Weight.BOUNDS)]
    told = " or ".join(f"--time {','.join(read.names[part] for part in columns)}" for columns in named)
    question = (
        f"is one of these the time of a row? Then draft again with {told}, so that no model learns from the future"
    )
    return [Doubt("data.time", question, Weight.FIGURES, strength=1.0)]


def _about_size(read: _Table) -> list[Doubt]:
    doubts = [
        Doubt("validate", "the bounds are half and double of the observed values: what is possible?", Weight.BOUNDS)
    ]
    if read.rows.height < _FEW_ROWS:
        question = (
            f"only {read.rows.height} rows: a linear model may be as good by chance, and evaluate then refuses the model. Is a small "
            "loss acceptable? Then"
        )
        doubts.append(Doubt("gates", question, Weight.BOUNDS, strength=1.0, keys={"gates.linear_margin": 0.02}))
    return doubts


def _about_rhythm(freshness: str | None) -> list[Doubt]:
    told = f"some days have no rows, so a month counts as complete if its newest row is at most {freshness} before its end: is that right?"
    return [Doubt("validate", told, Weight.BOUNDS)] if freshness else []


def _about_ranges(kept: list[Guess]) -> list[Doubt]:
    numbers = [entry.name for entry in kept if entry.kind == "number"]
    told = f"requests outside the ranges of {', '.join(numbers)} are refused; the ranges are rounded and wider than the observed values"
    return [Doubt("data.columns", f"{told}: what is possible?", Weight.BOUNDS)] if numbers else []


def _safe_names(names: Sequence[str]) -> dict[str, str]:
    """Return a name valid in params.yaml for each column.

    They differ even in lower case, and none equals the old name of another column. A point would look like a step of a key.
    """
    safe: dict[str, str] = {}
    taken: set[str] = set()
    own = {name.lower() for name in names}
    for name in names:
        plain = _plain(name)
        number, unique = 2, plain
        while unique.lower() in taken or (unique != name and unique.lower() in own):
            number, unique = number + 1, f"{plain.rstrip('_')}_{number}"
        safe[name] = unique
        taken.add(unique.lower())
    return safe


def _plain(name: str) -> str:
    """Return a valid name that a person takes for this one: `Größe (cm)` becomes `Grosse_cm`."""
    letters = unicodedata.normalize("NFKD", name.replace("ß", "ss"))  # é becomes e and an accent
    valid = re.sub(r"[^A-Za-z0-9_-]+", "_", "".join(each for each in letters if not unicodedata.combining(each)))
    if valid != name:
        valid = valid.strip("_") or "column"
    return re.sub(r"^_*(?=[^A-Za-z_]|$)|^__+", "_", valid)[:90]
