"""Points from outcomes, and their table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drills.score.checks import Outcome
from drills.score.rubric import SECTIONS, Question

Card = dict[str, list["Scored"]]


@dataclass(frozen=True)
class Scored:
    """A test of the rubric with its points: 0, 0.5 or 1.

    Attributes:
        shown: the reason for the points.
        missing: what a whole point lacks; empty for one.
    """

    asks: str
    points: float
    shown: str
    missing: str = ""


def selected() -> set[str]:
    """Return the tests that the rubric needs."""
    every = (test for section in SECTIONS.values() for test in section)
    return {name for test in every for check in (test.automated, test.manual) if check for name in check.tests}


def scored(outcomes: Mapping[str, Outcome], place: Path, docs: Path) -> Card:
    """Decide all tests of the rubric."""
    return {name: [_points(test, outcomes, place, docs) for test in section] for name, section in SECTIONS.items()}


def _points(test: Question, outcomes: Mapping[str, Outcome], place: Path, docs: Path) -> Scored:
    missing = test.lacks
    if test.automated:
        found = test.automated.decide(outcomes, place, docs)
        if found.passed:
            return Scored(test.asks, 1.0, found.words)
        missing = found.words
    if test.manual:
        found = test.manual.decide(outcomes, place, docs)
        if found.passed:
            return Scored(test.asks, 0.5, f"{found.words}; by hand: docs/{test.manual.page}", missing)
        missing = f"{missing}; by hand: {found.words}"
    return Scored(test.asks, 0.0, "", missing)


def total(card: Card) -> float:
    """Return the score: the smallest sum of a section."""
    return min(sum(entry.points for entry in entries) for entries in card.values())


def text(card: Card) -> str:
    """Return the sections with points and reasons, the score, and what is missing."""
    lines = []
    for name, entries in card.items():
        lines.append(f"\n{name}: {sum(entry.points for entry in entries):g} of {len(entries)}")
        lines += [f"  {entry.points:<4g}{entry.asks}{f': {entry.shown}' if entry.shown else ''}" for entry in entries]
    lines.append(f"\nML Test Score, the smallest of the four: {total(card):g}")
    open_ = [entry for entries in card.values() for entry in entries if entry.missing]
    lines += ["\nMissing:", *(f"  {entry.asks}: {entry.missing}" for entry in open_)] if open_ else []
    return "\n".join(lines)
