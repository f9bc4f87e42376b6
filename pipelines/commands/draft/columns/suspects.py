"""Leaks, redundant features, keys, groups and repeated rows; pure functions on guesses."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.schema.tasks import TASKS
from pipelines.commands.draft.columns.inference import Guess
from pipelines.commands.draft.doubts import Doubt, Weight
from pipelines.commands.draft.rows.outcome import Outcome
from pipelines.stages.screen import leaks

_ROWS = 200_000  # measured rows at most, evenly spread over the table
_LEAK = 0.98  # a little below the bounds of the stage `screen` (gates), which measures on the training rows alone
_FEW_COPIES = 0.1  # of the rows: a larger share of repeats is natural in tables with few columns
_REFUSED = 0.985  # near the bound beyond which `screen` refuses even a reviewed feature as the target in disguise


def mark_leaks(guesses: Sequence[Guess], outcome: Outcome) -> None:
    """Remove leaks from the features, with a doubt: columns that predict the target alone, and pairs that add up to it.

    A column that predicts it far better than the others stays, with a doubt.
    """
    entries = [entry for entry in guesses if entry.feature()]
    found = _measured(entries, outcome)
    for entry in entries:
        told = leaks.describe(found[entry.name], outcome.task)
        if (strength := leaks.strength(found[entry.name], outcome.task)) > _LEAK:
            _take_out(entry, told, strength, is_refused=found[entry.name]["error_reduction"] > _REFUSED)
    if TASKS[outcome.task].is_number:
        for name, told in _sums(entries, outcome.values).items():
            _take_out(next(entry for entry in entries if entry.name == name), told, 1.0, is_refused=False)
    left = {entry.name: entry for entry in entries if entry.is_feature}
    for name, told in leaks.outliers({name: found[name] for name in left}, outcome.task).items():
        question, strength = (
            f"{told}: is it known before the outcome? If not",
            leaks.strength(found[name], outcome.task),
        )
        left[name].ask(question, Weight.FIGURES, strength=strength, feature=None)


def tells_all(values: pl.Series, outcome: Outcome) -> bool:
    """Return whether numbers alone predict nearly all of the target."""
    found = _measured([Guess(values.name, {"kind": "number"}, values)], outcome)
    return leaks.strength(found[values.name], outcome.task) > _LEAK


def _measured(entries: Sequence[Guess], outcome: Outcome) -> dict[str, dict[str, float]]:
    labelled = outcome.values.is_not_null()
    outcomes = _codes(outcome.values.filter(labelled), TASKS[outcome.task].is_number)
    step = -(-max(len(outcomes), 1) // _ROWS)
    values = {entry.name: _codes(entry.values.filter(labelled), entry.kind == "number") for entry in entries}
    return {
        name: leaks.measure(codes.astype(np.float32)[::step], outcomes[::step], outcome.task)
        for name, codes in values.items()
    }


def _take_out(entry: Guess, told: str, strength: float, *, is_refused: bool) -> None:
    if not entry.is_feature:
        return
    if is_refused:
        question = f"{told}: it is not a feature, and `screen` would refuse it. Is it the target under another name?"
        entry.ask(question, Weight.FIGURES, strength=strength)
    else:
        entry.ask(
            f"{told}: it is not a feature. Is it known before the outcome, and not part of it? Then",
            Weight.FIGURES,
            strength=strength,
            feature=entry.feature(),
            keys={"gates.reviewed": [entry.name]},
        )
    entry.is_feature = False


def mark_twins(guesses: Sequence[Guess]) -> None:
    """Add a doubt to each feature that is one to one with an earlier one."""
    groups: dict[bytes, list[Guess]] = {}
    for entry in guesses:
        if entry.feature() and 1 < entry.values.n_unique() <= len(entry.values) / 2:
            groups.setdefault(_pattern(entry.values), []).append(entry)
    for group in groups.values():
        for first, second in combinations(group, 2):
            second.ask(f"one to one with {first.name}. Is it needed? If not", Weight.BOUNDS, feature=None)


def _pattern(values: pl.Series) -> bytes:
    """Return a digest that two columns share if they are one to one: of the first row with the same value, row by row."""
    rows = pl.DataFrame({"value": values, "row": np.arange(len(values))})
    return sha256(rows.select(pl.col("row").min().over("value")).to_series().to_numpy().tobytes()).digest()


def key_of(guesses: Sequence[Guess], outcome: Outcome, time: str | None) -> tuple[list[str], list[Doubt]]:
    """Return the columns that identify a row, or none, and doubts, among them about repeated rows."""
    columns = {entry.name: entry.values for entry in guesses} | {outcome.values.name: outcome.values}
    table = pl.DataFrame(list(columns.values()))
    twice = table.height - table.n_unique()
    identifiers = [entry.name for entry in guesses if entry.kind == "identifier" and not entry.values.null_count()]
    candidates = [[name] for name in identifiers] + ([[time], *([time, name] for name in identifiers)] if time else [])
    for key in candidates:
        if table.select(key).n_unique() == table.height - twice:
            doubts = [Doubt("data.key", "it is unique in this table: is it always?", Weight.BOUNDS)]
            if twice:
                doubts.append(
                    Doubt(
                        "data.key",
                        f"{twice} rows repeat an earlier one, value by value, and are used once: is that right?",
                        Weight.VALUES,
                    )
                )
            return key, doubts
    doubts = [Doubt("data.key", "no column identifies a row: is there no identifier?", Weight.BOUNDS)]
    told = f"{twice} rows repeat an earlier one, value by value, and stay: were they delivered twice?"
    if 0 < twice <= _FEW_COPIES * table.height:
        share = -(-twice * 10_000 // table.height) / 10_000
        doubts.append(Doubt("data.key", f"{told} Then", Weight.VALUES, keys={"validate.budget": share}))
    elif twice:
        doubts.append(Doubt("data.key", told, Weight.VALUES))
    return [], doubts


def groups_of(guesses: Sequence[Guess]) -> dict[str, int]:
    """Return identifiers that several rows share, with their number of distinct values, the largest first.

    Rows of one entity may not be on both sides of a split. An identifier with missing values is no group: all rows without it would be one.
    """
    shared = {}
    for entry in guesses:
        distinct = entry.values.n_unique()
        if entry.kind == "identifier" and not entry.values.null_count() and 1 < distinct < len(entry.values) * 0.9:
            shared[entry.name] = distinct
    return dict(sorted(shared.items(), key=lambda pair: -pair[1]))


def _sums(entries: Sequence[Guess], outcome: pl.Series) -> dict[str, str]:
    """Return the pairs of numbers that add up to the target in every row with all three, as reasons by column."""
    numbers = {entry.name: entry.values.to_numpy() for entry in entries if entry.kind == "number"}
    wanted = outcome.to_numpy()
    reasons: dict[str, str] = {}
    some = np.linspace(0, len(wanted) - 1, min(len(wanted), 500)).astype(int)
    for first, second in combinations(numbers, 2):
        pair = numbers[first], numbers[second]
        if _adds_up(pair[0][some], pair[1][some], wanted[some]) and _adds_up(*pair, wanted):
            reasons |= dict.fromkeys((first, second), f"{first} + {second} is the target")
    return reasons


def _adds_up(first: NDArray[np.float64], second: NDArray[np.float64], total: NDArray[np.float64]) -> bool:
    known = ~np.isnan(first + second + total)
    return bool(
        known.sum() > len(total) / 2 and np.allclose((first + second)[known], total[known], rtol=1e-9, atol=1e-9)
    )


def _codes(values: pl.Series, is_number: bool) -> NDArray[np.float64]:
    """Return numbers unchanged and other values as the rank of their text; NaN where missing."""
    ranks = values if is_number else values.rank("dense")
    return ranks.cast(pl.Float64).fill_null(float("nan")).to_numpy()
