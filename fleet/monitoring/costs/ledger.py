"""The ledger of a fleet's costs, `costs.jsonl` in its root: a line for every ten minutes, with the counters that the next one begins at.

What no line has yet stands in `costs.pending.jsonl`, replaced at each reading: another process that took one reading of all the time since
the last line could not tell how much of it was idle.

Lines that are older than a week become one a day, without counters: 150 kB a year.

Pure functions but for `Ledger`. A line holds differences, so days are sums of lines. The counters in the last line let a new process
continue: what still ran meanwhile is counted for the time in between, and a counter that began anew is counted from its new beginning.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contract.files import atomic_path
from fleet.configuration import lines
from fleet.monitoring.readings import usage
from fleet.monitoring.readings.reading import Reading
from fleet.monitoring.readings.traffic import since

FILE_NAME = "costs.jsonl"
_PENDING = "costs.pending.jsonl"  # what is not written yet: replaced at each reading
_LINE_S = 600.0
_KEPT_DAYS = 7
_GB = 1e9


@dataclass(frozen=True)
class Use:
    """What a fleet used in some time.

    Attributes:
        seconds: the time in which the fleet ran.
        replica_s: seconds of replicas, added.
        cpu_s: CPU seconds by part: `replicas`, `envoy`, `control` (supervisord and the fleet's own programs).
        gb_s: resident memory of all processes times seconds, in GB · s. Shared pages count once for each process.
        predictions: rows predicted for callers; a shadow's have none.
        idle_s, idle_cpu_s, idle_gb_s: the part of it in which no row was predicted.
    """

    seconds: float = 0.0
    replica_s: float = 0.0
    cpu_s: Mapping[str, float] = field(default_factory=dict)
    gb_s: float = 0.0
    predictions: int = 0
    idle_s: float = 0.0
    idle_cpu_s: float = 0.0
    idle_gb_s: float = 0.0

    @property
    def total_cpu_s(self) -> float:
        """CPU seconds of all parts."""
        return sum(self.cpu_s.values())

    def __add__(self, other: Use) -> Use:
        cpu_s = {part: self.cpu_s.get(part, 0.0) + other.cpu_s.get(part, 0.0) for part in {**self.cpu_s, **other.cpu_s}}
        sums = {
            each.name: getattr(self, each.name) + getattr(other, each.name)
            for each in fields(self)
            if each.name != "cpu_s"
        }
        return Use(cpu_s=cpu_s, **sums)


@dataclass(frozen=True)
class Mark:
    """Where a difference begins: the counters of a reading that it needs.

    `rows` are named by the replica's first process: a later replica gets the same name, and has golden answers of its own.
    """

    at: float
    uptime_s: float
    boot: str
    processes: usage.Processes
    rows: Mapping[str, int]


def mark(reading: Reading, before: Mark | None = None) -> Mark:
    """Return a reading's counters; a replica that runs but did not answer keeps those of before."""
    oldest: dict[str, str] = {}
    for key, process in sorted(reading.processes.items(), key=lambda item: item[1].started_s):
        oldest.setdefault(process.program, key)
    kept = {key: count for key, count in before.rows.items() if key in reading.processes} if before else {}
    found = {
        oldest[name]: counters.rows
        for name, counters in reading.replicas.items()
        if name in oldest and name not in reading.shadows
    }
    return Mark(reading.at, reading.uptime_s, reading.boot, reading.processes, kept | found)


def used(before: Mark, after: Mark) -> Use:
    """Return the use between two marks.

    A replica's rows count from the first mark of its process on, since its first ones answered golden requests. After a reboot nothing
    that ran before counts, and what runs counts from its start.
    """
    same_boot = before.boot == after.boot
    earlier = before.processes if same_boot else {}
    wall_s = max(0.0, after.uptime_s - before.uptime_s) if same_boot else after.uptime_s
    cpu_s: dict[str, float] = {}
    for program, seconds in usage.spent(earlier, after.processes).items():
        cpu_s[part(program)] = cpu_s.get(part(program), 0.0) + seconds
    # Of each process how long it has run since the mark before.
    ran_s = {
        key: min(wall_s, max(0.0, after.uptime_s - each.started_s)) if key not in earlier else wall_s
        for key, each in after.processes.items()
    }
    replica_s: dict[str, float] = {}
    for key, each in after.processes.items():
        if part(each.program) == "replicas":
            replica_s[each.program] = max(ran_s[key], replica_s.get(each.program, 0.0))
    gb_s = sum(each.resident_bytes / _GB * ran_s[key] for key, each in after.processes.items())
    counted = before.rows if same_boot else {}
    rows = sum(since(counted[key], count) for key, count in after.rows.items() if key in counted)
    seconds = max(ran_s.values(), default=0.0)
    found = Use(seconds, sum(replica_s.values()), cpu_s, gb_s, rows)
    return found if rows else replace(found, idle_s=seconds, idle_cpu_s=found.total_cpu_s, idle_gb_s=gb_s)


def part(program: str) -> str:
    """Return the part of the fleet that a program belongs to."""
    if program.startswith("envoy-"):
        return "envoy"
    # A replica is named by its bundle and a number, such as 3f2a90c1-0.
    return "replicas" if "-" in program else "control"


def by_day(lines: Iterable[tuple[float, Use]]) -> dict[str, Use]:
    """Return the sums by day in UTC, such as `2026-11-29`; a line belongs to the day of its end."""
    days: dict[str, Use] = {}
    for at, use in lines:
        day = _iso(at)
        days[day] = days.get(day, Use()) + use
    return days


class Ledger:
    """The ledger of a fleet. One process writes it; others may read it, and add readings of their own without writing."""

    def __init__(self, root: Path) -> None:
        self._path = root / FILE_NAME
        entries = _entries(self._path)
        self._days = by_day((entry["at"], _use(entry)) for entry in entries)
        self._last = _last_mark(entries)
        self._written_at = self._last.at if self._last else 0.0
        self._written = {*self._last.rows} if self._last else set()
        self._pending: list[tuple[float, Use]] = []
        self._pending_path = root / _PENDING
        pending = _entries(self._pending_path)
        # Only what goes on from the last line: one that was written since has it already.
        if pending and pending[0].get("since") == self._written_at:
            self._pending = [(entry["at"], _use(entry)) for entry in pending]
            self._last = _last_mark(pending)
        self._shortened_on: int | None = None

    def add(self, reading: Reading) -> None:
        """Add what was used since the last reading."""
        new = mark(reading, self._last)
        if self._last is not None:
            use = used(self._last, new)
            if self._pending and _day(self._pending[-1][0]) == _day(new.at):
                use += self._pending.pop()[1]
            self._pending.append((new.at, use))
        self._last = new

    def keep(self) -> None:
        """Keep what is not written yet, for other processes and for the next one, unless the disk refuses."""
        if self._last is not None:
            # Every five seconds, so without fsync: a file that a power cut tears is skipped.
            part = self._pending_path.with_suffix(".part")
            with suppress(OSError):
                part.write_text("".join(f"{line}\n" for line in self._lines(self._last)))
                part.replace(self._pending_path)

    @property
    def is_due(self) -> bool:
        """True if a line is to be written: after ten minutes, and when a replica came, went or began anew, so that a kill loses no rows."""
        if self._last is None:
            return False
        return not 0 <= self._last.at - self._written_at < _LINE_S or {*self._last.rows} != self._written

    def write(self) -> None:
        """Append what is not written yet; what cannot be written, as on a full disk, is kept for the next time."""
        if self._last is None:
            return
        with suppress(OSError):
            lines.append(self._path, self._lines(self._last))
            self._days = self.days()
            self._pending, self._written_at, self._written = [], self._last.at, {*self._last.rows}
            self._shorten(_day(self._last.at))

    def _lines(self, last: Mark) -> list[str]:
        """Return the lines of what is not written yet, with its last mark."""
        pending = self._pending or [(last.at, Use())]
        return [
            json.dumps({"at": at, "since": self._written_at, **_plain_use(use), "mark": _plain(last)})
            for at, use in pending
        ]

    def _shorten(self, today: int) -> None:
        """Once a day, and at the first line of a process, make one line of each day that is over a week ago."""
        if today == self._shortened_on:
            return
        self._shortened_on = today
        entries = _entries(self._path)
        # The last line keeps its counters, however old: a clock that was set back must not lose them.
        old = [entry for entry in entries[:-1] if _day(entry["at"]) < today - _KEPT_DAYS]
        sums = by_day((entry["at"], _use(entry)) for entry in old)
        if len(sums) == len(old):
            return
        ends = {day: max(entry["at"] for entry in old if _iso(entry["at"]) == day) for day in sums}
        days = [{"at": ends[day], **_plain_use(use)} for day, use in sums.items()]
        kept = [entry for entry in entries if not any(entry is each for each in old)]
        with atomic_path(self._path, mode=0o600) as temporary:
            temporary.write_text("".join(f"{json.dumps(entry)}\n" for entry in (*days, *kept)))

    def days(self) -> dict[str, Use]:
        """Return the use by day in UTC, oldest first, with what is not written yet."""
        days = dict(self._days)
        for day, use in by_day(self._pending).items():
            days[day] = days.get(day, Use()) + use
        return dict(sorted(days.items()))


def _entries(path: Path) -> list[dict[str, Any]]:
    found = []
    for line in path.read_text(errors="replace").splitlines() if path.is_file() else ():
        with suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and "at" in entry:
                found.append(entry)
    return found


def _use(entry: Mapping[str, Any]) -> Use:
    return Use(**{each.name: entry[each.name] for each in fields(Use) if each.name in entry})


def _last_mark(entries: Sequence[Mapping[str, Any]]) -> Mark | None:
    marks = [entry["mark"] for entry in entries if "mark" in entry]
    return _mark_of(marks[-1]) if marks else None


def _mark_of(saved: Mapping[str, Any]) -> Mark:
    processes = {key: usage.Process(*values) for key, values in saved["processes"].items()}
    return Mark(saved["at"], saved["uptime_s"], saved["boot"], processes, saved["rows"])


def _plain(last: Mark) -> dict[str, Any]:
    return {
        "at": last.at,
        "uptime_s": round(last.uptime_s, 2),
        "boot": last.boot,
        "processes": {key: (each.program, each.parent, each.cpu_s) for key, each in last.processes.items()},
        "rows": dict(last.rows),
    }


def _plain_use(use: Use) -> dict[str, Any]:
    cpu_s = {name: round(seconds, 3) for name, seconds in use.cpu_s.items()}
    return {name: round(value, 3) for name, value in asdict(use).items() if name != "cpu_s"} | {"cpu_s": cpu_s}


def _day(at: float) -> int:
    return int(at // 86400)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
