"""`python -m fleet.monitoring.shadow ROOT LIVE SHADOW`: compare a shadow's answers with the live bundle's, as long as it is one.

Envoy sends the shadow a copy of each request, or of a share of them, and names both alike; it names no others. Replicas log the requests
so named below `ROOT/shadow`, off the path of any request; this process reads the logs, removes what it has read, and writes the counts to
`ROOT/shadow.json` once a second.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contract.errors import DataRejectedError
from contract.files import canonical_json, write_atomically
from contract.prediction_log.frames import HEADER_LIMIT_BYTES, SUFFIX, Answered, Header, answered, next_payload
from fleet.configuration.settings import PROJECT, Settings
from fleet.configuration.state import State
from fleet.monitoring.comparison import LIVE, SHADOW, Comparison
from fleet.supervisor.supervision import Program

NAME = "shadow"
DIRECTORY = "shadow"  # below the root; replicas write there (`BULKHEAD_SHADOW_LOG`)
_REPORT = "shadow.json"
_ROUND_S = 1.0
_SETTLED_S = 5.0
_BEGIN_LIMIT_S = 10.0
_POLL_S = 0.05


@dataclass
class _Tail:
    """One growing file, read up to its last whole frame."""

    path: Path
    header: Header | None = None
    at: int = 0

    def requests(self) -> Iterator[Answered]:
        """Yield the requests that were appended since the last call.

        Raises:
            DataRejectedError: the file is not a log.
        """
        size = self.path.stat().st_size
        with self.path.open("rb") as stream:
            if self.header is None:
                line = stream.readline(HEADER_LIMIT_BYTES)
                if not line.endswith(b"\n"):
                    return
                self.header, self.at = Header.from_bytes(line), len(line)
            stream.seek(self.at)
            while (payload := next_payload(stream, size)) is not None:
                self.at = stream.tell()
                yield from answered(payload, self.header)

    @property
    def is_complete(self) -> bool:
        """True if its writer has closed it, or is gone, so that nothing more is appended."""
        # A writer creates its file and then locks it; a lock that is tried in between would fail it.
        if time.time() - self.path.stat().st_mtime < _SETTLED_S:
            return False
        with self.path.open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return False
        return True


@dataclass
class Comparer:
    """The logs of one fleet, and the comparison of its shadow."""

    root: Path
    sides: dict[str, str]
    comparison: Comparison = field(default_factory=Comparison)
    _tails: dict[Path, _Tail] = field(default_factory=dict)
    # What was answered before is another comparison's; it may still stand in files that are being written.
    since_ns: int = field(default_factory=time.time_ns)

    def look(self, now: float) -> None:
        """Read what is new, remove files that are complete and read, and write the report."""
        for path in sorted((self.root / DIRECTORY).glob(f"*{SUFFIX}")):
            with suppress(FileNotFoundError):
                self._read(path, now)
        self.comparison.expire(now)
        digests = {side: digest for digest, side in self.sides.items()}
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.since_ns // 10**9))
        report = {**digests, "since": since, **self.comparison.summary()}
        write_atomically(self.root / _REPORT, canonical_json(report))

    def _read(self, path: Path, now: float) -> None:
        tail = self._tails.setdefault(path, _Tail(path))
        # Before it is read: what its writer appends until then is read, too.
        is_complete = tail.is_complete
        try:
            for request in tail.requests():
                side = self.sides.get(tail.header.version) if tail.header else None
                if side is not None and tail.header is not None and request.at >= self.since_ns:
                    self.comparison.add(side, tail.header, request, now)
        except DataRejectedError as error:
            print(f"{path.name} is skipped: {error}", flush=True)
        if is_complete:
            path.unlink()
            del self._tails[path]


def program(settings: Settings, state: State) -> Program | None:
    """Return the comparison as a program; None where there is nothing to compare."""
    if state.shadow is None or state.live is None:
        return None
    command = [sys.executable, "-m", "fleet.monitoring.shadow", str(settings.root), state.live, state.shadow]
    return Program(NAME, command, settings.root, {"PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"})


def begin(root: Path) -> None:
    """Forget the report of an earlier comparison, before another starts."""
    (root / _REPORT).unlink(missing_ok=True)


def wait(root: Path) -> None:
    """Wait until the comparison has begun, some seconds at most: requests are mirrored only then, so that it sees both sides of all."""
    deadline = time.monotonic() + _BEGIN_LIMIT_S
    while not (root / _REPORT).exists() and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def report(root: Path, state: State) -> dict[str, Any] | None:
    """Return the counts of the shadow so far; None without one."""
    if state.shadow is None:
        return None
    try:
        found: dict[str, Any] = json.loads((root / _REPORT).read_bytes())
    except (OSError, ValueError):
        found = {}
    known = found if found.get(SHADOW) == state.shadow else {LIVE: state.live, SHADOW: state.shadow}
    return {**known, "percent": state.mirror_percent}


def described(found: dict[str, Any]) -> str:
    """Return a report in one line."""
    named = f"{found[SHADOW][:12]} with copies of {found['percent']} % of the requests"
    if "requests" not in found:
        return f"{named}; nothing was compared yet"
    requests, rows = found["requests"], found["rows"]
    parts = [
        f"{named}; {rows['differing']:,} of {rows['compared']:,} rows differ",
        f"features {len(found['features']['differing'])}, scores {found['scores']['differing']:,}, labels {found['labels']['differing']:,}",
        f"answered by live only {requests['live_only']:,}, by the shadow only {requests['shadow_only']:,}",
    ]
    return "; ".join(parts) + (f"; not compared {requests['dropped']:,}" if requests["dropped"] else "")


def main(root: Path, live: str, shadow: str) -> None:
    """Compare round by round, until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _step_back()
    comparer = Comparer(root, {live: LIVE, shadow: SHADOW})
    while True:
        comparer.look(time.monotonic())
        time.sleep(_ROUND_S)


def _step_back() -> None:
    """Leave the processor to all others, which then preempt this process at once: its rounds would delay a hundredth of the requests."""
    with suppress(OSError, AttributeError):  # not allowed here, or not Linux
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
