"""HTTP over a Unix socket, with a time limit for every wait."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path

FAILURES = (OSError, HTTPException)


class UnixConnection(HTTPConnection):
    """A connection to the socket at `path`; waits at most `limit_s` for it, and for each part of an answer."""

    def __init__(self, path: Path | str, limit_s: float) -> None:
        # Goes into the Host header only, which HTTP/1.1 requires (RFC 9112, 3.2).
        super().__init__("localhost", timeout=limit_s)
        self._path, self._limit_s = str(path), limit_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        # Before connect(), which waits while the backlog of a stopped process is full.
        self.sock.settimeout(self._limit_s)
        self.sock.connect(self._path)


def ask(
    path: Path | str,
    method: str,
    target: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    limit_s: float,
) -> tuple[int, bytes]:
    """Return status and body of one request.

    Raises:
        OSError: nothing listens, or nothing arrived within `limit_s` (TimeoutError).
        HTTPException: what came is not HTTP.
    """
    connection = UnixConnection(path, limit_s)
    try:
        connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def answers(path: Path | str, target: str, *, limit_s: float) -> bool:
    """Tell whether a page answers 200."""
    try:
        return ask(path, "GET", target, limit_s=limit_s)[0] == 200
    except FAILURES:
        return False
