"""What a drill gives: the counts of one fault, and whether its invariant held; the table for people and the file for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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


def write(found: Mapping[str, Sequence[Result]], path: Path = FILE) -> None:
    """The results by drill; those of drills that were not run now stay as they were."""
    before = json.loads(path.read_bytes()) if path.exists() else {}
    now = {drill: [asdict(entry) for entry in entries] for drill, entries in found.items()}
    write_atomically(path, canonical_json(before | now))
