"""The retention of bundles: deletable are those in no channel's history, their installations, and half-made writes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from contract.store.place import Entry
from contract.store.store import Store


@dataclass(frozen=True)
class Rule:
    """Exceptions from deletion: bundles of this machine's fleet, and those younger than `grace`, since a channel may be about to move."""

    now: datetime
    grace: timedelta
    in_use: frozenset[str]

    def spares(self, entry: Entry) -> bool:
        """Tell whether an entry is kept although no channel needs it."""
        return entry.name in self.in_use or self.now - entry.stored_at < self.grace


@dataclass(frozen=True)
class Garbage:
    """The deletable entries; `installed` holds what this machine has for bundles, by folder and name."""

    bundles: tuple[Entry, ...]
    leftovers: tuple[Entry, ...]
    installed: tuple[Entry, ...] = ()

    @property
    def size_bytes(self) -> int:
        """The size of all entries, in bytes."""
        return sum(entry.size_bytes for entry in (*self.bundles, *self.leftovers, *self.installed))

    def as_dict(self, is_deleted: bool) -> dict[str, Any]:
        """Return the entries as plain values."""
        plain = {
            name: [_plain(entry) for entry in getattr(self, name)] for name in ("bundles", "leftovers", "installed")
        }
        return {"deleted": is_deleted, "size_bytes": self.size_bytes, **plain}

    def describe(self, is_deleted: bool) -> str:
        """Return the entries as text."""
        lines = [f"bundle    {_line(entry)}" for entry in self.bundles]
        lines += [f"leftover  {_line(entry)}" for entry in self.leftovers]
        lines += [f"installed {_line(entry)}" for entry in self.installed]
        if not lines:
            return "nothing to delete"
        megabytes = f"{self.size_bytes / 1e6:.1f} MB"
        end = f"freed {megabytes}" if is_deleted else f"would free {megabytes}; `store gc --delete` does"
        return "\n".join([*lines, end])


def find(store: Store, rule: Rule) -> Garbage:
    """Return what may be deleted. Bundles are listed before channels are read, so one that is named in between is kept."""
    entries, leftovers = store.entries(), store.leftovers()
    needed = store.needed()
    return Garbage(
        tuple(entry for entry in entries if entry.name not in needed and not rule.spares(entry)),
        tuple(entry for entry in leftovers if not rule.spares(entry)),
    )


def delete(store: Store, garbage: Garbage, rule: Rule) -> Garbage:
    """Delete the garbage, except what was put or named again meanwhile; return what was deleted."""
    present = {entry.name: entry for entry in store.entries()}
    bundles = [
        entry
        for entry in garbage.bundles
        if entry.name in present and not rule.spares(present[entry.name]) and store.remove(entry.name)
    ]
    for entry in garbage.leftovers:
        store.remove_leftover(entry.name)
    return Garbage(tuple(bundles), garbage.leftovers)


def _plain(entry: Entry) -> dict[str, Any]:
    return asdict(entry) | {"stored_at": entry.stored_at.isoformat(timespec="seconds")}


def _line(entry: Entry) -> str:
    return f"{entry.name[:24]:<24} {entry.size_bytes / 1e6:8.1f} MB  since {entry.stored_at:%Y-%m-%d %H:%M}"
