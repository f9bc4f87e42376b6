"""HTTP load over keep-alive connections: raw sockets and one epoll loop, so that one core of load saturates one core of any server here.

python -m harness.load.closed_loop < job.json      (see harness/load/generators.py; standard library only)
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from itertools import cycle

from harness.load import generators
from harness.load.generators import Job
from harness.load.wires import LENGTH, connect

_CHUNK = 1 << 16
_ANSWERED = b"HTTP/1.1 200 "
_REFUSED = b"HTTP/1.1 503 "
_LIMIT_S = 10


def request(path: str, body: bytes) -> bytes:
    """Return a complete `POST` of JSON."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def is_complete(response: bytes, *, or_refused: bool = False) -> bool:
    """Tell whether a response of status 200, or of 503 with `or_refused`, is complete.

    Raises:
        RuntimeError: another status, or no Content-Length.
    """
    end = response.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = LENGTH.search(response, 0, end + 2)
    allowed = (_ANSWERED, _REFUSED) if or_refused else _ANSWERED
    if length is None or not response.startswith(allowed):
        raise RuntimeError(f"the server answered {response[:300]!r}")
    return len(response) >= end + 4 + int(length[1])


def exchange(connection: socket.socket, payload: bytes) -> bytes:
    """Send a request and return its response."""
    connection.sendall(payload)
    response = b""
    while not response or not is_complete(response):
        chunk = connection.recv(_CHUNK)
        if not chunk:
            raise RuntimeError("the server closed the connection")
        response += chunk
    return response


def one_by_one(job: Job, count: int) -> list[float]:
    """Return latencies in ms of `count` requests, one at a time."""
    latencies = []
    with connect(job.port) as connection:
        payloads = cycle(job.payloads())
        for _ in range(count):
            payload = next(payloads)
            started = time.perf_counter()
            exchange(connection, payload)
            latencies.append((time.perf_counter() - started) * 1000)
    return latencies


def saturate(job: Job) -> Callable[[float], int]:
    """Connect, warm up, and return a function from seconds to the number of requests completed in that time."""
    connections = [connect(job.port) for _ in range(generators.IN_FLIGHT)]
    payloads = job.payloads()
    for index in range(generators.WARM_UP // generators.IN_FLIGHT):
        for connection in connections:  # each in turn, so that none idles until the server closes it
            exchange(connection, payloads[index % len(payloads)])

    def measure(seconds: float) -> int:
        return _flood(connections, payloads, seconds)

    return measure


def _flood(connections: list[socket.socket], payloads: list[bytes], seconds: float) -> int:
    """Keep one request in flight on every connection for so many seconds; return the number answered.

    On a busy machine a server may reject some requests, since it could not answer them in time.
    """
    turn = cycle(payloads)
    poll = select.epoll()
    by_number = {connection.fileno(): connection for connection in connections}
    partial: dict[int, bytes] = dict.fromkeys(by_number, b"")
    for number, connection in by_number.items():
        poll.register(number, select.EPOLLIN)
        connection.sendall(next(turn))
    completed = refused = 0
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        for number, _ in poll.poll(_LIMIT_S):
            connection = by_number[number]
            chunk = connection.recv(_CHUNK)
            if not chunk:
                raise RuntimeError("the server closed a connection under load")
            response = partial[number] + chunk
            if is_complete(response, or_refused=True):
                answered = response.startswith(_ANSWERED)
                completed += answered
                refused += not answered
                partial[number] = b""
                connection.sendall(next(turn))
            else:
                partial[number] = response
    return answered_of(completed, refused)


def answered_of(completed: int, refused: int) -> int:
    """Return the number of answers, if it measures the server's capacity.

    Raises:
        RuntimeError: more than a tenth were refused.
    """
    if refused * 9 > completed:
        raise RuntimeError(
            f"the server refused {refused} of {completed + refused} requests: the machine is too busy to measure"
        )
    return completed


if __name__ == "__main__":
    generators.main(one_by_one, saturate)
