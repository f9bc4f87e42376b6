"""Features that a draft proposes beside those of each column alone, as other answers; pure functions on guesses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from contract.schema.schema import Field
from contract.schema.tasks import TASKS
from pipelines.columns import kinds
from pipelines.commands.draft.columns import suspects, times
from pipelines.commands.draft.columns.inference import Guess
from pipelines.commands.draft.doubts import Doubt, Weight
from pipelines.commands.draft.rows.outcome import Outcome

# Source of the effect: "small" in Cohen 1988, Statistical Power Analysis, chapter 7. Of the other: p = .001 of chi² with one degree of
# freedom.
_EFFECT, _CHI2 = 0.1, 10.83
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "min": timedelta(minutes=1), "s": timedelta()}
_LONGEST = 40  # of a column's name within a feature's


def propose(guesses: Sequence[Guess], outcome: Outcome, time: str | None) -> list[Doubt]:
    """Propose the time between two timestamps, and that a value is missing where that goes with the outcome."""
    found = {**_elapsed(guesses, outcome, time), **_missing(guesses, outcome)}
    taken = {entry.name for entry in guesses}
    return [
        Doubt("features", question, Weight.BOUNDS, keys={f"features.{name}": feature})
        for name, (question, feature) in found.items()
        if name not in taken
    ]


def _elapsed(guesses: Sequence[Guess], outcome: Outcome, time: str | None) -> dict[str, tuple[str, dict[str, Any]]]:
    """Of the time of a row, or else the first timestamp, with each other one that has an offset where it has."""
    stamps = [entry for entry in guesses if entry.kind == "timestamp"]
    stamps.sort(key=lambda entry: entry.name != time)
    proposed = {}
    for other in stamps[1:]:
        start, end = stamps[0], other
        between = times.moments(end.values) - times.moments(start.values)
        if _has_offset(start) != _has_offset(end) or between.drop_nulls().n_unique() < 2:
            continue
        if suspects.tells_all(between.dt.total_microseconds().cast(pl.Float64), outcome):
            continue
        if between.median() < timedelta():  # type: ignore[operator]
            start, end = end, start
        usual = between.abs().median()
        unit = next(unit for unit, length in _UNITS.items() if usual >= 2 * length)  # type: ignore[operator]
        question = (
            f"is the time from {start.name} to {end.name} known before the outcome, and does it tell something? Then"
        )
        feature = {"transform": "elapsed", "inputs": [start.name, end.name], "unit": unit}
        proposed[f"{end.name[:_LONGEST]}_since_{start.name[:_LONGEST]}"] = question, feature
    return proposed


def _has_offset(entry: Guess) -> bool:
    read = kinds.moments(entry.values, Field(entry.name, "timestamp"))
    return bool(read.struct.field("has_offset").any())


def _missing(guesses: Sequence[Guess], outcome: Outcome) -> dict[str, tuple[str, dict[str, Any]]]:
    """Of features whose missing values go with another outcome, though they do not tell it."""
    proposed = {}
    for entry in guesses:
        missing = entry.values.is_null()
        if entry.feature() is None or not missing.any() or not _goes_with(missing, outcome):
            continue
        if not suspects.tells_all(missing.cast(pl.Float64), outcome):
            share = missing.sum() / len(missing)
            question = (
                f"where {entry.name} is missing, in {share:.1%} of the rows, the outcome is another one. Is it known before the "
                "outcome that it is missing? Then"
            )
            feature = {"transform": "is_missing", "input": entry.name}
            proposed[f"{entry.name[: 2 * _LONGEST]}_is_missing"] = question, feature
    return proposed


def _goes_with(missing: pl.Series, outcome: Outcome) -> bool:
    """Return whether outcomes differ where a value is missing: by Cramér's V of labels, or the rank correlation of numbers."""
    labelled = outcome.values.is_not_null()
    known, outcomes = missing.filter(labelled).to_numpy(), outcome.values.filter(labelled)
    if not known.any() or known.all():
        return False
    if TASKS[outcome.task].is_number:
        squared, freedom = float(np.corrcoef(known, outcomes.rank().to_numpy())[0, 1] ** 2), 1
    else:
        labels = outcomes.unique().to_list()
        shares = np.array([(outcomes == label).to_numpy() for label in labels], dtype=float)
        apart = shares[:, known].mean(axis=1) - shares[:, ~known].mean(axis=1)
        squared = float(np.sum(apart**2 / shares.mean(axis=1)) * known.mean() * (1 - known.mean()))
        freedom = len(labels) - 1
    return squared >= _EFFECT**2 and squared * len(known) > _CHI2 * freedom
