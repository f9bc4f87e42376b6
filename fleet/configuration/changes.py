"""The changes of a fleet: who made one, when, why, on what evidence, and its verdict."""

from __future__ import annotations

import getpass
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


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

    def entry(self, verb: str, bundle: str | None = None, verdict: str = "begun") -> Entry:
        """Return a change of now."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return Entry(now, self.by, verb, bundle, self.why, verdict, self.evidence)


@dataclass(frozen=True)
class Entry:
    """A change: `bundle` is the digest that the verb was about, `verdict` is `begun`, `done`, or what failed."""

    at: str
    by: str
    verb: str
    bundle: str | None
    why: str
    verdict: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


def described(entries: Sequence[Entry]) -> str:
    """Return changes as text, two lines each: what was done, and why."""
    lines = []
    for each in entries:
        lines.append(f"{each.at[:19]}Z  {each.verb:<9} {(each.bundle or '')[:12]:<12}  by {each.by}: {each.verdict}")
        evidence = ", ".join(f"{name} {_short(json.dumps(value))}" for name, value in each.evidence.items())
        lines += [f"{'':22}{part}" for part in (each.why, evidence) if part]
    return "\n".join(lines) or "nothing was changed yet"


def _short(evidence: str) -> str:
    """Return JSON with the beginnings of digests, as all other commands print them."""
    return re.sub(r'"([0-9a-f]{12})[0-9a-f]{52}"', r"\1", evidence)
