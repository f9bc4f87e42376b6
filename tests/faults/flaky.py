"""A bad network: connections to a server of a test's own that are reset, or cut in the middle of what they carry."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from select import select

_METHODS = (b"GET ", b"PUT ", b"POST", b"HEAD", b"DELE")
_ABORT = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Fault:
    """After so many bytes of the content of a request and its answer the connection ends: properly, or by a reset.

    Attributes:
        is_of_answer: the request arrives whole, and nothing of the answer to it.
    """

    after: int
    is_reset: bool
    is_of_answer: bool = False


class Dice:
    """Of all requests 30 % are reset before an answer, and 15 % are cut within the first bytes of what they carry.

    Attributes:
        thrown: how many faults there were.
    """

    def __init__(self, seed: int, longest: int) -> None:
        self.thrown = 0
        self._random = Random(seed)
        self._longest = longest

    def __call__(self) -> Fault | None:
        chance = self._random.random()
        if chance >= 0.45:
            return None
        self.thrown += 1
        if chance < 0.3:
            return Fault(0, is_reset=True)
        return Fault(self._random.randrange(1, self._longest), is_reset=self._random.random() < 0.5)


@contextmanager
def relay(port: int, next_fault: Callable[[], Fault | None]) -> Iterator[int]:
    """A port that stands for another one; every request over it asks once what becomes of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, port, next_fault), daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, port: int, next_fault: Callable[[], Fault | None]) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, port, next_fault), daemon=True).start()


def _serve(client: socket.socket, port: int, next_fault: Callable[[], Fault | None]) -> None:
    with client:
        try:
            with socket.create_connection(("127.0.0.1", port)) as upstream:
                fault = _carry(client, upstream, next_fault)
        except OSError:
            return
        if fault and fault.is_reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)


def _carry(client: socket.socket, upstream: socket.socket, next_fault: Callable[[], Fault | None]) -> Fault | None:
    """Both ways, until one side ends, or for as long as the fault lets it."""
    fault, carried = None, 0
    while True:
        for source in select([client, upstream], [], [])[0]:
            data = source.recv(1 << 16)
            if source is client and data.startswith(_METHODS):
                fault, carried = next_fault(), 0
            target = upstream if source is client else client
            if fault and fault.is_of_answer and source is upstream:
                return fault
            head = data.find(b"\r\n\r\n") + 4 if data.startswith((*_METHODS, b"HTTP/")) else 0
            if fault and not fault.is_of_answer and carried + len(data) - head >= fault.after:
                target.sendall(data[: head + fault.after - carried])
                return fault
            if not data:
                return None
            target.sendall(data)
            carried += len(data) - head
