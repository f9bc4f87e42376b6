"""Columns that may tell the outcome, that tell the same, and rows that are alike; pure functions on guesses."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.draft.inference import Guess
from pipelines.draft.outcome import Outcome
from pipelines.screen import leaks

_ROWS = 200_000  # of a larger table as many are measured, evenly spread
# A little below the bounds of the stage `screen` (gates), which measures on the training rows alone.
_LEAK, _STRONG = 0.98, 0.95


def leak_suspects(guesses: Sequence[Guess], outcome: Outcome) -> dict[str, str]:
    """Columns that alone say nearly all about the target, and pairs that add up to it, with the reason to leave them out.

    One that says much, but may be honest, gets a doubt.
    """
    reasons: dict[str, str] = {}
    labelled = outcome.values.is_not_null()
    outcomes = _codes(outcome.values.filter(labelled), outcome.task == "regression")
    step = -(-max(len(outcomes), 1) // _ROWS)
    for entry in guesses:
        if entry.kind in ("number", "category", "boolean"):
            values = _codes(entry.values.filter(labelled), entry.kind == "number").astype(np.float32)
            found = leaks.measure(values[::step], outcomes[::step], outcome.task)
            strength = max(found.values())
            told = f"alone it has ROC-AUC {found['auc']:.3f} and avoids {max(found['error_reduction'], 0):.0%} of the errors"
            if strength > _LEAK:
                reasons[entry.name] = f"{told}: is it known before the outcome?"
            elif strength > _STRONG:
                entry.unsure.append(f"{told}: is it known before the outcome?")
    if outcome.task == "regression":
        reasons |= _sums(guesses, outcome.values)
    return reasons


def mark_twins(guesses: Sequence[Guess]) -> None:
    """A doubt for each column that is one to one with an earlier one."""
    groups: dict[int, list[Guess]] = {}
    for entry in guesses:
        if entry.kind in ("number", "category", "boolean"):
            groups.setdefault(entry.values.n_unique(), []).append(entry)
    for distinct, group in groups.items():
        for first, second in combinations(group, 2):
            if 1 < distinct <= len(first.values) / 2:
                together = pl.DataFrame([first.values.alias("a"), second.values.alias("b")])
                if together.n_unique() == distinct:
                    second.unsure.append(f"one to one with {first.name}: are both needed?")


def key_of(guesses: Sequence[Guess], outcome: Outcome, time: str | None) -> tuple[list[str], list[str]]:
    """The columns that tell rows apart, none where no few do, and doubts, among them about rows that are there twice."""
    columns = {entry.name: entry.values for entry in guesses} | {outcome.values.name: outcome.values}
    table = pl.DataFrame(list(columns.values()))
    twice = table.height - table.n_unique()
    identifiers = [entry.name for entry in guesses if entry.kind == "identifier" and not entry.values.null_count()]
    candidates = [[name] for name in identifiers] + ([[time], *([time, name] for name in identifiers)] if time else [])
    for key in candidates:
        if table.select(key).n_unique() == table.height - twice:
            doubts = ["no two rows share it: is that so by its meaning?"]
            if twice:
                doubts.append(f"{twice} rows are there twice, value by value, and are taken once")
            return key, doubts
    doubts = ["nothing tells rows apart: is there no identifier?"]
    if twice:
        share = -(-twice * 10_000 // table.height) / 10_000
        doubts.append(
            f"{twice} rows equal an earlier one, value by value, and stay: were they delivered twice? "
            f"Then validate.budget: {share:g} splits them off"
        )
    return [], doubts


def groups_of(guesses: Sequence[Guess]) -> list[str]:
    """Identifiers that several rows share: what belongs together may not be on both sides of a split."""
    shared = []
    for entry in guesses:
        known = entry.values.drop_nulls()
        if entry.kind == "identifier" and 1 < known.n_unique() < len(known) * 0.9:
            shared.append(entry.name)
    return shared


def _sums(guesses: Sequence[Guess], outcome: pl.Series) -> dict[str, str]:
    """Pairs of numbers that add up to the target in every row that has all three."""
    numbers = {entry.name: entry.values.to_numpy() for entry in guesses if entry.kind == "number"}
    wanted = outcome.to_numpy()
    reasons: dict[str, str] = {}
    some = np.linspace(0, len(wanted) - 1, min(len(wanted), 500)).astype(int)
    for first, second in combinations(numbers, 2):
        pair = numbers[first], numbers[second]
        if _adds_up(pair[0][some], pair[1][some], wanted[some]) and _adds_up(*pair, wanted):
            reasons |= dict.fromkeys((first, second), f"{first} + {second} is the target: is it known before?")
    return reasons


def _adds_up(first: NDArray[np.float64], second: NDArray[np.float64], total: NDArray[np.float64]) -> bool:
    known = ~np.isnan(first + second + total)
    return bool(
        known.sum() > len(total) / 2 and np.allclose((first + second)[known], total[known], rtol=1e-9, atol=1e-9)
    )


def _codes(values: pl.Series, is_number: bool) -> NDArray[np.float64]:
    """Numbers as they are, others as the rank of their text; NaN where there is none."""
    ranks = values if is_number else values.rank("dense")
    return ranks.cast(pl.Float64).fill_null(float("nan")).to_numpy()
