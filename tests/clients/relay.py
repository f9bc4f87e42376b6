"""A port that stands for another one, and counts the connections made to it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


@dataclass
class Counted:
    address: str
    connections: int = 0


@contextmanager
def relay(address: str) -> Iterator[Counted]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        counted = Counted(f"127.0.0.1:{server.getsockname()[1]}")
        threading.Thread(target=_accept, args=(server, address, counted), daemon=True).start()
        yield counted
        server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, address: str, counted: Counted) -> None:
    host, port = address.split(":")
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            counted.connections += 1
            upstream = socket.create_connection((host, int(port)))
            threading.Thread(target=_join, args=(client, upstream), daemon=True).start()


def _join(client: socket.socket, upstream: socket.socket) -> None:
    with client, upstream:
        forward = threading.Thread(target=_carry, args=(client, upstream), daemon=True)
        forward.start()
        _carry(upstream, client)
        forward.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    """One way, until its end, which is passed on."""
    with suppress(OSError):
        while data := source.recv(1 << 18):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
