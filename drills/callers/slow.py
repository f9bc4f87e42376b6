"""Callers that never finish: heads and bodies a byte at a time, on many connections.

    python -m drills.callers.slow HTTP_PORT GRPC_PORT --http N --grpc M --seconds S

N of each kind over HTTP and M of each over gRPC; a connection that the server ends is reopened. Prints JSON by kind: `opened`, `ended`
(rejected by the server, as intended), `otherwise` (not opened, or closed without a rejection), `longest_s` (the longest connection).
Standard library only.
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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bentos.protocols.http2.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    frame,
)
from harness import processes
from harness.load.wires import GREETING, REQUEST_HEAD, frames

_PAUSE_S = 1.5  # between two bytes of a connection
_BODY = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
_CALL = GREETING + frame(HEADERS, END_HEADERS, 1, REQUEST_HEAD)
_SETTLED = GREETING + frame(SETTINGS, ACK, 0)  # with the acknowledgement of the server's settings


def _is_408(received: bytes) -> bool:
    return received.startswith(b"HTTP/1.1 408 ")


def _is_refused(received: bytes) -> bool:
    """Tell whether the server ended the call or the connection."""
    return any(
        kind in (RST_STREAM, GOAWAY) or (kind == HEADERS and flags & END_STREAM) for kind, flags in frames(received)
    )


@dataclass(frozen=True)
class Kind:
    """A kind of slow caller: its first bytes, the bytes that it repeats, and the test of a rejection."""

    start: bytes
    again: bytes
    is_refusal: Callable[[bytes], bool]


HTTP_KINDS = {
    "HTTP heads": Kind(b"GET /v2 HTTP/1.1\r\nHost: x\r\n", b"X-A: b\r\n", _is_408),
    "HTTP bodies": Kind(_BODY, b" ", _is_408),
}
GRPC_KINDS = {
    "gRPC greetings": Kind(PREFACE[:10], PREFACE[10:], _is_refused),
    "gRPC heads": Kind(_SETTLED + frame(HEADERS, 0, 1, REQUEST_HEAD * 50)[:9], b"\0", _is_refused),
    "gRPC bodies": Kind(_CALL, frame(DATA, 0, 1, b"\0"), _is_refused),
}
_KINDS = {**HTTP_KINDS, **GRPC_KINDS}


@dataclass
class _Slow:
    kind: str
    connection: socket.socket
    opened: float
    sent: int = 0
    received: bytes = b""


@dataclass
class SlowCallers:
    """All slow callers, in one loop."""

    ports: Mapping[str, int]
    open_: dict[int, _Slow] = field(default_factory=dict)
    turns: deque[tuple[float, _Slow]] = field(default_factory=deque)  # the connections in the order of their next byte
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    longest_s: dict[str, float] = field(default_factory=dict)

    def run(self, wanted: Mapping[str, int], seconds: float) -> dict[str, dict[str, Any]]:
        """Keep so many connections of each kind open for so long; return counts by kind."""
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

    def _fill_up(self, wanted: Mapping[str, int], poll: select.epoll) -> None:
        now = Counter(slow.kind for slow in self.open_.values())
        for kind, count in wanted.items():
            for _ in range(min(count - now[kind], 50)):  # at most 50 per turn, so that open connections are not delayed
                self._open(kind, poll)

    def _open(self, kind: str, poll: select.epoll) -> None:
        try:
            connection = socket.create_connection(("127.0.0.1", self.ports[kind]), 10)
        except OSError:
            self.counts[kind, "otherwise"] += 1
            return
        slow = _Slow(kind, connection, time.perf_counter())
        self.open_[connection.fileno()] = slow
        self.counts[kind, "opened"] += 1
        poll.register(connection, select.EPOLLIN)
        self._send(slow)

    def _send(self, slow: _Slow) -> None:
        kind = _KINDS[slow.kind]
        try:
            slow.connection.send(kind.again[(slow.sent - 1) % len(kind.again) :][:1] if slow.sent else kind.start)
        except OSError:
            return  # closed by us, or by the server, whose answer is still to be read
        slow.sent += 1
        self.turns.append((time.perf_counter() + _PAUSE_S, slow))

    def _receive(self, descriptor: int) -> None:
        slow = self.open_[descriptor]
        try:
            chunk = slow.connection.recv(4096)
        except OSError:
            chunk = b""
        slow.received += chunk
        is_refused = _KINDS[slow.kind].is_refusal(slow.received)
        if chunk and not is_refused:
            return
        self.counts[slow.kind, "ended" if is_refused else "otherwise"] += 1
        self._note_length(slow)
        del self.open_[descriptor]
        slow.connection.close()

    def _note_length(self, slow: _Slow) -> None:
        self.longest_s[slow.kind] = max(self.longest_s.get(slow.kind, 0.0), time.perf_counter() - slow.opened)


def main(arguments: list[str] | None = None) -> int:
    """Run the callers and print their counts."""
    parser = argparse.ArgumentParser(prog="python -m drills.callers.slow", description=__doc__.partition("\n")[0])
    parser.add_argument("http_port", type=int)
    parser.add_argument("grpc_port", type=int)
    parser.add_argument("--http", type=int, default=1000)
    parser.add_argument("--grpc", type=int, default=300)
    parser.add_argument("--seconds", type=float, required=True)
    asked = parser.parse_args(arguments)
    processes.pin(processes.LOAD_CORE)
    # The usual soft limit of 1,024 open files is below the number of connections.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    ports = dict.fromkeys(HTTP_KINDS, asked.http_port) | dict.fromkeys(GRPC_KINDS, asked.grpc_port)
    wanted = dict.fromkeys(HTTP_KINDS, asked.http) | dict.fromkeys(GRPC_KINDS, asked.grpc)
    print(json.dumps(SlowCallers(ports).run(wanted, asked.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
