"""Good callers that do not wait for one another: requests leave on a clock, whatever the server does, and every answer is checked.

    python -m drills.open_loop BUNDLE PORT --rate R --seconds S

Sends golden requests of the bundle to /predict, R a second, each on a connection that no other request is on, 1,000 at most. Prints JSON:
`asked`, `failed` (how many), `wrong` (the first of those, with their numbers), `p50_ms` and `p99_ms` from when a request was due to
its answer, and `late` (how many left more than 10 ms late: the program was slow, or no connection free). Ends with 1 if one failed.
Standard library only.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.http_load import is_complete, request
from benchmarks.wires import connect
from contract import manifest

ROWS = 16
_ANSWER_LIMIT_S = 10.0
_LATE_S = 0.01
_SHOWN = 20
_CONNECTIONS = 1000  # at most; who finds none free waits for one


@dataclass(slots=True)
class _Sent:
    """A request that waits for its answer."""

    number: int
    due: float
    received: bytes = b""


class Answers:
    """Requests of so many golden rows each, and their right answers. Bytes that were right once need not be parsed again.

    Several rows a request: a server shall have more to do with it than this program, which may have but one core for all callers.
    """

    def __init__(self, bundle: Path, rows: int = ROWS) -> None:
        cases = json.loads((bundle / manifest.ARTIFACT / manifest.GOLDEN_FILE_NAME).read_bytes())
        turns = [[cases[(first + index) % len(cases)] for index in range(rows)] for first in range(len(cases))]
        self.requests = [
            request("/predict", json.dumps({"rows": [case["row"] for case in turn]}).encode()) for turn in turns
        ]
        self._predictions = [[case["answer"] for case in turn] for turn in turns]
        self._version = manifest.digest_of(bundle)
        self._known: dict[int, bytes] = {}

    def is_right(self, number: int, response: bytes) -> bool:
        body = response[response.index(b"\r\n\r\n") + 4 :]
        case = number % len(self.requests)
        if body != self._known.get(case):
            answer: dict[str, Any] = json.loads(body)
            if answer["predictions"] != self._predictions[case] or answer["model"]["version"] != self._version:
                return False
            self._known[case] = body
        return True


class OpenLoop:
    """One run against a port."""

    def __init__(self, answers: Answers, port: int) -> None:
        self._answers = answers
        self._port = port
        self._idle: deque[socket.socket] = deque()
        self._connections: dict[int, socket.socket] = {}
        self._waiting: dict[int, _Sent] = {}  # by descriptor
        self._poll = select.epoll()
        self._latencies: list[float] = []
        self._failures: list[str] = []
        self._late = 0

    def run(self, rate_per_s: float, seconds: float) -> dict[str, Any]:
        started = time.perf_counter()
        count = int(rate_per_s * seconds)
        number = 0
        while number < count or self._waiting:
            now = time.perf_counter()
            due = started + number / rate_per_s
            if number < count and due <= now and (self._idle or len(self._connections) < _CONNECTIONS):
                self._late += now - due > _LATE_S
                self._send(_Sent(number, due))
                number += 1
                continue
            for descriptor, _ in self._poll.poll(min(due - now, 0.1) if now < due and number < count else 0.1):
                self._receive(descriptor)
            self._give_up(now - _ANSWER_LIMIT_S)
        for descriptor in list(self._connections):
            self._close(descriptor)
        self._poll.close()
        return self._found(count)

    def _send(self, sent: _Sent) -> None:
        try:
            connection = self._idle.popleft() if self._idle else self._connect()
        except OSError as error:
            self._failures.append(f"request {sent.number}: no connection ({error})")
            return
        self._waiting[connection.fileno()] = sent
        try:
            connection.sendall(self._answers.requests[sent.number % len(self._answers.requests)])
        except OSError as error:
            self._fail(connection.fileno(), repr(error))

    def _connect(self) -> socket.socket:
        connection = connect(self._port)
        self._connections[connection.fileno()] = connection
        self._poll.register(connection, select.EPOLLIN)
        return connection

    def _receive(self, descriptor: int) -> None:
        connection = self._connections[descriptor]
        sent = self._waiting.get(descriptor)
        try:
            chunk = connection.recv(1 << 16)
        except OSError:
            chunk = b""
        if sent is None:  # idle for so long that the server closed it
            self._idle.remove(connection)
            self._close(descriptor)
        elif not chunk:
            self._fail(descriptor, f"closed after {sent.received[:100]!r}")
        else:
            sent.received += chunk
            self._judge(descriptor, sent)

    def _judge(self, descriptor: int, sent: _Sent) -> None:
        try:
            if not is_complete(sent.received):
                return
            if not self._answers.is_right(sent.number, sent.received):
                raise ValueError("not the golden answer")
        except (RuntimeError, ValueError, LookupError) as error:
            self._fail(descriptor, str(error))
            return
        self._latencies.append((time.perf_counter() - sent.due) * 1000)
        del self._waiting[descriptor]
        self._idle.append(self._connections[descriptor])

    def _give_up(self, due_before: float) -> None:
        for descriptor in [key for key, sent in self._waiting.items() if sent.due < due_before]:
            self._fail(descriptor, "no answer")

    def _fail(self, descriptor: int, why: str) -> None:
        self._failures.append(f"request {self._waiting.pop(descriptor).number}: {why}")
        self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        self._connections.pop(descriptor).close()  # which takes it out of the epoll

    def _found(self, count: int) -> dict[str, Any]:
        ordered = sorted(self._latencies) or [0.0]
        return {
            "asked": count,
            "failed": len(self._failures),
            "wrong": self._failures[:_SHOWN],
            "p50_ms": ordered[len(ordered) // 2],
            "p99_ms": ordered[int(len(ordered) * 0.99)],
            "late": self._late,
        }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m drills.open_loop", description=__doc__.partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    asked = parser.parse_args(arguments)
    processes.pin(processes.LOAD_CORE)
    found = OpenLoop(Answers(asked.bundle), asked.port).run(asked.rate, asked.seconds)
    print(json.dumps(found))
    return 1 if found["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
