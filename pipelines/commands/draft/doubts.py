"""Doubts of a draft: a question for a person, the cost of a wrong answer, and the alternative lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Weight(IntEnum):
    """The damage of a wrong answer, the worst first."""

    FIGURES = 1
    VALUES = 2
    BOUNDS = 3


@dataclass(frozen=True)
class Doubt:
    """A question, and the lines of params.yaml for the other answer, which together are valid and run.

    Attributes:
        about: the column, or the key of params.yaml.
        question: ends with the answer that needs the lines (`Then`, `If not`), if there are any.
        strength: order among doubts of one weight, the strongest first.
        declared: changed keys of the declaration of the column or target; None removes a key.
        feature: the changed feature of the column; None removes it, an empty one leaves it.
        keys: other changed keys of params.yaml, each with its whole value.
    """

    about: str
    question: str
    weight: Weight
    strength: float = 0.0
    declared: Mapping[str, Any] = field(default_factory=dict)
    feature: Mapping[str, Any] | None = field(default_factory=dict)
    keys: Mapping[str, Any] = field(default_factory=dict)


def ranked(doubts: Iterable[Doubt]) -> list[Doubt]:
    """Return the doubts, the most important first; equal ones keep their order."""
    return sorted(doubts, key=lambda doubt: (doubt.weight, -doubt.strength))
