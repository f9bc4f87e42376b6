"""The history of a fleet: `history.jsonl` in its root, one line for each change, with who, why, evidence and verdict."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contract.errors import BulkheadError, ConfigurationError

FILE_NAME = "history.jsonl"
_MOST_BYTES = 4 << 20


@dataclass(frozen=True)
class Cause:
    """Who changes the fleet, why, and on what evidence."""

    by: str
    why: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def person(cls, why: str = "") -> Cause:
        """Return the cause of a command: the user who gave it."""
        try:
            return cls(getpass.getuser(), why)
        except (KeyError, OSError):  # a container's user need not have a name
            return cls(f"user {os.geteuid()}", why)


@dataclass(frozen=True)
class Entry:
    """One line: `bundle` is the digest that the verb was about, `verdict` is `done`, or what failed."""

    at: str
    by: str
    verb: str
    bundle: str | None
    why: str
    evidence: Mapping[str, Any]
    verdict: str


def append(root: Path, cause: Cause, verb: str, bundle: str | None, verdict: str) -> None:
    """Add an entry of now, durably; a full disk loses the entry, not the change that it tells of.

    A failure that its author's last entry tells of already is not told again: the reconciler tries again and again.
    """
    told = next((each for each in reversed(read(root)) if each.by == cause.by), None)
    if told and verdict != "done" and (told.verb, told.verdict) == (verb, " ".join(verdict.split())):
        return
    entry = Entry(
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        by=cause.by,
        verb=verb,
        bundle=bundle,
        why=cause.why,
        evidence=cause.evidence,
        verdict=" ".join(verdict.split()),
    )
    line = json.dumps(asdict(entry), ensure_ascii=False) + "\n"
    with suppress(OSError), (root / FILE_NAME).open("ab+") as stream:
        os.fchmod(stream.fileno(), 0o600)
        # A writer that was killed, or had no space, may have left half a line.
        if stream.tell() and os.pread(stream.fileno(), 1, stream.tell() - 1) != b"\n":
            line = "\n" + line
        stream.write(line.encode())
        stream.flush()
        os.fsync(stream.fileno())


def verdict_of(failure: BulkheadError) -> str:
    """Return the verdict of a change that was refused or failed."""
    return f"{'refused' if isinstance(failure, ConfigurationError) else 'failed'}: {failure}"


def read(root: Path) -> list[Entry]:
    """Return the entries, oldest first; half-written lines are skipped."""
    try:
        with (root / FILE_NAME).open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _MOST_BYTES))
            lines = stream.read(_MOST_BYTES).splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with suppress(ValueError, TypeError):
            found.append(Entry(**json.loads(line)))
    return found


def described(entries: list[Entry]) -> str:
    """Return entries as text, two lines each: what was done, and why."""
    lines = []
    for each in entries:
        lines.append(f"{each.at[:19]}Z  {each.verb:<9} {(each.bundle or '')[:12]:<12}  by {each.by}: {each.verdict}")
        evidence = ", ".join(f"{name} {json.dumps(value)}" for name, value in each.evidence.items())
        lines += [f"{'':22}{part}" for part in (each.why, evidence) if part]
    return "\n".join(lines) or "nothing was changed yet"
