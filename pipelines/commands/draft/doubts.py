"""What a draft asks a person: the question, how much a wrong answer spoils, and what else to write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Weight(IntEnum):
    """What a wrong answer spoils, the worst first."""

    FIGURES = 1
    VALUES = 2
    BOUNDS = 3


@dataclass(frozen=True)
class Doubt:
    """A question, and the lines of params.yaml that another answer asks for; all of them together are valid, and run.

    Attributes:
        about: the column, or the key of params.yaml.
        question: ends with the answer for which the lines are (`Then`, `If not`), where there are any.
        strength: among doubts of one weight the strongest comes first.
        declared: keys of the column's declaration, or of the target's, that are other ones then; None takes a key out.
        feature: the feature of the column then; None takes it out, and an empty one leaves it as it is.
        keys: other keys of params.yaml then, each with its whole value.
    """

    about: str
    question: str
    weight: Weight
    strength: float = 0.0
    declared: Mapping[str, Any] = field(default_factory=dict)
    feature: Mapping[str, Any] | None = field(default_factory=dict)
    keys: Mapping[str, Any] = field(default_factory=dict)


def ranked(doubts: Iterable[Doubt]) -> list[Doubt]:
    """The one that matters most first; of equals the earlier one."""
    return sorted(doubts, key=lambda doubt: (doubt.weight, -doubt.strength))
