"""A crowd that asks at once, over HTTP on a connection each and over gRPC from a process of its own, and what became of each request.

An answer that is not the golden one, bit for bit, is an outcome of its own.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import PROJECT, interpreter

_LIMIT_S = 120


@dataclass
class Crowd:
    """So many callers over each protocol."""

    request: bytes
    expected: Any
    connections: dict[int, socket.socket]
    over_grpc: subprocess.Popen[str]
    received: dict[int, bytes] = field(default_factory=dict)
    answers: dict[int, str] = field(default_factory=dict)

    def ask(self) -> None:
        """All at once; over gRPC first, where it is one word to another process."""
        assert self.over_grpc.stdin is not None
        self.over_grpc.stdin.write("ask\n")
        self.over_grpc.stdin.flush()
        for connection in self.connections.values():
            connection.sendall(self.request)

    def wait_for_refusals(self, count: int) -> None:
        """Over both protocols."""
        self._read(lambda: len(self.answers) >= count)
        assert self.over_grpc.stdout is not None
        for _ in range(count):
            assert self.over_grpc.stdout.readline() == "RESOURCE_EXHAUSTED\n"

    def outcomes(self) -> tuple[Counter[str], Counter[str]]:
        """Of all, over HTTP and over gRPC."""
        self._read(lambda: len(self.answers) == len(self.connections))
        report, _ = self.over_grpc.communicate(timeout=_LIMIT_S)
        return Counter(self.answers.values()), Counter(json.loads(report.splitlines()[-1]))

    def _read(self, enough: Any) -> None:
        poll = select.epoll()
        for number in self.connections.keys() - self.answers.keys():
            poll.register(number, select.EPOLLIN)
        deadline = time.monotonic() + _LIMIT_S
        while not enough():
            assert time.monotonic() < deadline, f"{len(self.answers)} of {len(self.connections)} have an answer"
            for number, _ in poll.poll(1):
                chunk = self.connections[number].recv(1 << 16)
                self.received[number] = self.received.get(number, b"") + chunk
                outcome = "no answer" if not chunk else _outcome(self.received[number], self.expected)
                if outcome:
                    self.answers[number] = outcome
                    poll.unregister(number)
        poll.close()


@contextmanager
def crowd(http_port: int, grpc_port: int, bundle: Path, count: int) -> Iterator[Crowd]:
    golden = json.loads((bundle / "src" / "bundle" / "golden.json").read_bytes())[0]
    body = json.dumps({"rows": [golden["row"]]}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    command = [
        str(interpreter("client")),
        "-m",
        "tests.fleet.crowds.grpc_crowd",
        f"127.0.0.1:{grpc_port}",
        str(bundle),
        str(count),
    ]
    sockets = [socket.create_connection(("127.0.0.1", http_port), _LIMIT_S) for _ in range(count)]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as over_grpc:
        assert over_grpc.stdout is not None
        assert over_grpc.stdout.readline() == "ready\n"
        try:
            yield Crowd(head.encode() + body, golden["answer"], {each.fileno(): each for each in sockets}, over_grpc)
        finally:
            over_grpc.kill()
            for connection in sockets:
                connection.close()


def retry_after(port: int, body: str) -> str | None:
    """What a refusal says."""
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    with socket.create_connection(("127.0.0.1", port), _LIMIT_S) as connection:
        connection.sendall(head.encode())
        received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    return _fields(received).get("retry-after")


def _outcome(received: bytes, expected: Any) -> str:
    """Of a complete answer; nothing as long as it is none."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return ""
    fields = _fields(received)
    content = received[end + 4 :]
    if len(content) < int(fields["content-length"]):
        return ""
    status, answer = received[9:12].decode(), json.loads(content)
    if status == "200":
        return "200" if answer["predictions"] == [expected] else "a wrong answer"
    return f"{status} {answer['error']['code']}, Retry-After: {fields.get('retry-after')}"


def _fields(received: bytes) -> dict[str, str]:
    lines = received.partition(b"\r\n\r\n")[0].decode().lower().split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines)
