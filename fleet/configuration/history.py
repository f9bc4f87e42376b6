"""The history of a fleet: `history.jsonl` in its root, one line for each change, with who, why, evidence and verdict."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from contract.errors import BulkheadError, ConfigurationError
from fleet.configuration import lines
from fleet.configuration.changes import Cause, Entry

FILE_NAME = "history.jsonl"
_MOST_BYTES = 4 << 20


def append(root: Path, cause: Cause, verb: str, bundle: str | None, verdict: str) -> None:
    """Add an entry of now, durably; a disk that is full or fails loses the entry, not the change that it tells of.

    A failure that its author's last entry tells of already is not told again: the reconciler tries again and again.
    """
    entry = cause.entry(verb, bundle, " ".join(verdict.split()))
    with suppress(OSError):
        told = next((each for each in reversed(read(root)) if each.by == cause.by), None)
        if told and verdict != "done" and (told.verb, told.verdict) == (entry.verb, entry.verdict):
            return
        lines.append(root / FILE_NAME, [json.dumps(asdict(entry), ensure_ascii=False)])


def verdict_of(failure: BulkheadError) -> str:
    """Return the verdict of a change that was refused or failed."""
    return f"{'refused' if isinstance(failure, ConfigurationError) else 'failed'}: {failure}"


def read(root: Path, most_bytes: int = _MOST_BYTES) -> list[Entry]:
    """Return the entries in the last bytes of the file, oldest first; half lines are skipped."""
    try:
        with (root / FILE_NAME).open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - most_bytes))
            content = stream.read(most_bytes)
    except FileNotFoundError:
        return []
    found = []
    for line in content.splitlines():
        with suppress(ValueError, TypeError):
            found.append(Entry(**json.loads(line)))
    return found
