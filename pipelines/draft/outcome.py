"""What is to be predicted, by the values of its column."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from contract.errors import ConfigurationError
from pipelines.draft.inference import FEW

_MOST_LABELS = 100
_FEWEST_ROWS = 20  # of a label
# Pairs whose second word is the positive one whatever is rarer.
_SPEAKING = (("no", "yes"), ("n", "y"), ("false", "true"), ("f", "t"), ("0", "1"), ("0.0", "1.0"))


@dataclass
class Outcome:
    """`declared` as `target` of params.yaml has it; `values` are numbers for a regression, else text, null without a label."""

    declared: dict[str, Any]
    values: pl.Series
    unsure: list[str] = field(default_factory=list)

    @property
    def task(self) -> str:
        return str(self.declared["task"])


def guess_outcome(column: pl.Series) -> Outcome:
    """Task and labels.

    Raises:
        ConfigurationError: there is nothing to predict, or more labels than anything has.
    """
    known = column.drop_nulls()
    numbers, distinct = known.str.strip_chars().cast(pl.Float64, strict=False), known.n_unique()
    if distinct < 2:
        raise ConfigurationError(f"--target: {column.name!r} has one value only; there is nothing to predict")
    declared: dict[str, Any] = {"column": column.name}
    if distinct > FEW and not numbers.null_count():
        values = column.str.strip_chars().cast(pl.Float64, strict=False)
        return Outcome(declared | {"task": "regression"}, values)
    if distinct > _MOST_LABELS:
        raise ConfigurationError(
            f"--target: {column.name!r} has {distinct} different values, and {numbers.null_count()} of its {len(known)} values "
            "are no numbers; name a column of labels, or one of numbers alone"
        )
    if distinct == 2:
        labels, reason = _two_labels(known)
        return Outcome(declared | {"task": "binary", "labels": labels}, column, [reason])
    labels = sorted(set(known.to_list()), key=lambda label: (_number(label), label))
    result = Outcome(declared | {"task": "multiclass", "labels": labels}, column)
    if not numbers.null_count():
        result.unsure.append(f"{distinct} different numbers, taken as labels: or task: regression, and no labels?")
    rarest = min(known.value_counts()["count"].to_list())
    if rarest < _FEWEST_ROWS:
        result.unsure.append(f"the rarest label has {rarest} rows: too few to be learned and judged by?")
    return result


def _two_labels(known: pl.Series) -> tuple[list[str], str]:
    """The negative one and the positive one, and by what they were told apart."""
    counts = known.value_counts(sort=True).sort("count", known.name, descending=[True, False])
    frequent, rare = counts[known.name].to_list()
    by_word = {label.strip().lower(): label for label in (frequent, rare)}
    for negative, positive in _SPEAKING:
        if by_word.keys() == {negative, positive}:
            label = by_word[positive]
            return [
                by_word[negative],
                label,
            ], f"the positive label is {label!r}, as it says: is that what is asked for?"
    share = counts["count"][1] / len(known)
    return [frequent, rare], f"the positive label is {rare!r}, the rarer one ({share:.1%}): is that what is asked for?"


def _number(label: str) -> float:
    try:
        return float(label)
    except ValueError:
        return 0.0
