"""The target of a draft, inferred from the values of its column."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from contract.errors import ConfigurationError
from contract.schema.kinds import BOOLEAN_WORDS
from pipelines.columns.identifiers import FEW
from pipelines.commands.draft.columns.inference import numbers_of
from pipelines.commands.draft.doubts import Doubt, Weight

_MOST_LABELS = 100
_FEWEST_ROWS = 20  # of a label
# Pairs whose second word is the positive label, even if it is the more frequent one.
_SPEAKING = (*BOOLEAN_WORDS, ("n", "y"), ("f", "t"))
_AS_IT_SAYS = "by its meaning"


@dataclass
class Outcome:
    """The drafted target.

    Attributes:
        values: numbers for a regression, else text; null without a label.
        chosen: the reason for the choice of the positive label.
    """

    declared: dict[str, Any]
    values: pl.Series
    doubts: list[Doubt] = field(default_factory=list)
    chosen: str = ""

    @property
    def task(self) -> str:
        """The kind of task: binary, multiclass or regression."""
        return str(self.declared["task"])


def guess_outcome(column: pl.Series) -> Outcome:
    """Return the task and its labels.

    Raises:
        ConfigurationError: there is nothing to predict, or there are too many labels.
    """
    known = column.drop_nulls()
    numbers, distinct = numbers_of(known), known.n_unique()
    if distinct < 2:
        raise ConfigurationError(
            f"--target: {column.name!r} has {'one value only' if distinct else 'no values'}; there is nothing to predict"
        )
    declared: dict[str, Any] = {"column": column.name}
    if distinct > FEW and not numbers.null_count():
        values = numbers_of(column)
        return Outcome(declared | {"task": "regression"}, values)
    if distinct > _MOST_LABELS:
        raise ConfigurationError(
            f"--target: {column.name!r} has {distinct} different values, and {numbers.null_count()} of its {len(known)} values "
            "are not numbers; name a column of labels, or one of numbers alone"
        )
    if distinct == 2:
        return _binary(column, known, declared)
    labels = sorted(set(known.to_list()), key=lambda label: (_number(label), label))
    result = Outcome(declared | {"task": "multiclass", "labels": labels}, column)
    if not numbers.null_count():
        question = f"{distinct} different numbers, taken as labels. Is it a number to predict? Then"
        other = {"task": "regression", "labels": None}
        result.doubts.append(Doubt("target", question, Weight.FIGURES, declared=other))
    rarest = int(known.value_counts(name="__rows__")["__rows__"].min())  # type: ignore[arg-type]
    if rarest < _FEWEST_ROWS:
        question = f"the rarest label has {rarest} rows: too few to be learned and judged by?"
        result.doubts.append(Doubt("target", question, Weight.FIGURES))
    return result


def positive_of(outcome: Outcome, rates: list[float]) -> Doubt:
    """Return the doubt about the positive label; `rates` bounds the share of the other label."""
    labels = outcome.declared["labels"]
    question = (
        f"the positive label is {labels[1]!r}, {outcome.chosen}. Do you want the probability of the other one? Then"
    )
    weight = Weight.BOUNDS if outcome.chosen == _AS_IT_SAYS else Weight.FIGURES
    return Doubt("target", question, weight, declared={"labels": labels[::-1]}, keys={"validate.positive_rate": rates})


def _binary(column: pl.Series, known: pl.Series, declared: dict[str, Any]) -> Outcome:
    counts = known.value_counts(sort=True, name="__rows__").sort("__rows__", known.name, descending=[True, False])
    frequent, rare = counts[known.name].to_list()
    by_word = {label.strip().lower(): label for label in (frequent, rare)}
    speaking = next((pair for pair in _SPEAKING if by_word.keys() == set(pair)), None)
    labels = [by_word[word] for word in speaking] if speaking else [frequent, rare]
    share = counts["__rows__"][1] / len(known)
    chosen = _AS_IT_SAYS if speaking else f"the rarer one ({share:.1%})"
    return Outcome(declared | {"task": "binary", "labels": labels}, column, chosen=chosen)


def _number(label: str) -> float:
    try:
        return float(label)
    except ValueError:
        return 0.0
