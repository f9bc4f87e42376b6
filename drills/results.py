"""Results of drills: the counts of a fault, and whether its invariant held; as text, and as a file."""

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
        fault: its number in the catalogue of faults; 0 for right requests.
        injected: the injection, in words.
        requests: number sent.
        failed: number of those that broke the invariant.
    """

    fault: int
    name: str
    injected: str
    requests: int
    failed: int
    invariant: str
    holds: bool


def table(results: Sequence[Result]) -> str:
    """Return the results as text, one line each."""
    return "\n".join(
        f"{'held' if entry.holds else 'BROKEN':6} {entry.failed:>7,} of {entry.requests:>9,} failed  {entry.name}: {entry.invariant}"
        for entry in results
    )


def write(found: Mapping[str, Sequence[Result]], path: Path = FILE) -> None:
    """Write the results by drill; those of drills that were not run stay as they were."""
    before = json.loads(path.read_bytes()) if path.exists() else {}
    now = {drill: [asdict(entry) for entry in entries] for drill, entries in found.items()}
    write_atomically(path, canonical_json(before | now))
