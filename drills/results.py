"""What a drill gives: the counts of one fault, and whether its invariant held; the table for people and the file for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from contract.files import canonical_json, write_atomically

FILE = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Result:
    """One line of the results.

    Attributes:
        fault: its number in the catalogue of faults; 0 for the requests that are right.
        injected: what was done, in words.
        requests: how many were sent.
        failed: how many of them broke the invariant.
    """

    fault: int
    name: str
    injected: str
    requests: int
    failed: int
    invariant: str
    holds: bool


def table(results: Sequence[Result]) -> str:
    """The results as text, one line each."""
    return "\n".join(
        f"{'held' if entry.holds else 'BROKEN':6} {entry.failed:>7,} of {entry.requests:>9,} failed  {entry.name}: {entry.invariant}"
        for entry in results
    )


def write(results: Sequence[Result], path: Path = FILE) -> None:
    write_atomically(path, canonical_json([asdict(entry) for entry in results]))
