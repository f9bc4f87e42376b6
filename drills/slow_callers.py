"""Callers that never come to an end: heads and bodies a byte at a time, on as many connections as are asked for.

    python -m drills.slow_callers PORT --heads N --bodies M --seconds S

A connection that the server ends is opened again. Prints JSON, for `heads` and `bodies` each: `opened`, `ended` (by the server's
408), `otherwise` (ended by anything else, or not opened), `longest_s` (how long one lasted). Standard library only.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import socket
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from benchmarks import processes

_PAUSE_S = 1.5  # between two bytes of one connection
_BODY = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
# What has come when the first byte is due, and what then comes again and again.
_KINDS = {"heads": (b"GET /v2 HTTP/1.1\r\nHost: x\r\n", b"X-A: b\r\n"), "bodies": (_BODY, b" ")}


@dataclass
class _Slow:
    kind: str
    connection: socket.socket
    opened: float
    sent: int = 0
    received: bytes = b""


@dataclass
class SlowCallers:
    """All of them, in one loop."""

    port: int
    open_: dict[int, _Slow] = field(default_factory=dict)
    turns: deque[tuple[float, _Slow]] = field(default_factory=deque)  # who sends when
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    longest_s: dict[str, float] = field(default_factory=dict)

    def run(self, wanted: dict[str, int], seconds: float) -> dict[str, dict[str, Any]]:
        poll = select.epoll()
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            self._fill_up(wanted, poll)
            for descriptor, _ in poll.poll(0.01):
                self._receive(descriptor)
            while self.turns and self.turns[0][0] <= now:
                self._send(self.turns.popleft()[1])
        for slow in self.open_.values():
            self._note_length(slow)
            slow.connection.close()
        poll.close()
        return {
            kind: {
                **{name: self.counts[kind, name] for name in ("opened", "ended", "otherwise")},
                "longest_s": self.longest_s.get(kind, 0.0),
            }
            for kind in wanted
        }

    def _fill_up(self, wanted: dict[str, int], poll: select.epoll) -> None:
        now = Counter(slow.kind for slow in self.open_.values())
        for kind, count in wanted.items():
            for _ in range(min(count - now[kind], 50)):  # so many in one turn that those who are there do not wait
                self._open(kind, poll)

    def _open(self, kind: str, poll: select.epoll) -> None:
        try:
            connection = socket.create_connection(("127.0.0.1", self.port), 10)
        except OSError:
            self.counts[kind, "otherwise"] += 1
            return
        slow = _Slow(kind, connection, time.perf_counter())
        self.open_[connection.fileno()] = slow
        self.counts[kind, "opened"] += 1
        poll.register(connection, select.EPOLLIN)
        self._send(slow)

    def _send(self, slow: _Slow) -> None:
        start, again = _KINDS[slow.kind]
        try:
            slow.connection.send(again[slow.sent % len(again) :][:1] if slow.sent else start)
        except OSError:
            return  # it is closed, by us or by the server, whose answer is still to be read
        slow.sent += 1
        self.turns.append((time.perf_counter() + _PAUSE_S, slow))

    def _receive(self, descriptor: int) -> None:
        slow = self.open_[descriptor]
        try:
            chunk = slow.connection.recv(4096)
        except OSError:
            chunk = b""
        slow.received += chunk
        if chunk and not slow.received.startswith(b"HTTP/1.1 408 "):
            return
        self.counts[slow.kind, "ended" if slow.received.startswith(b"HTTP/1.1 408 ") else "otherwise"] += 1
        self._note_length(slow)
        del self.open_[descriptor]
        slow.connection.close()

    def _note_length(self, slow: _Slow) -> None:
        self.longest_s[slow.kind] = max(self.longest_s.get(slow.kind, 0.0), time.perf_counter() - slow.opened)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m drills.slow_callers", description=__doc__.partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--heads", type=int, default=1000)
    parser.add_argument("--bodies", type=int, default=1000)
    parser.add_argument("--seconds", type=float, required=True)
    asked = parser.parse_args(arguments)
    processes.pin(processes.LOAD_CORE)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    wanted = {"heads": asked.heads, "bodies": asked.bodies}
    print(json.dumps(SlowCallers(asked.port).run(wanted, asked.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
