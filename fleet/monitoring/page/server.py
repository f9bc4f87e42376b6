"""The page's HTTP server: GET and HEAD of a few files and of `/status.json`, on a port of 127.0.0.1 and on a Unix socket."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
# Nothing but the page's own three files, and the status. Source: https://www.w3.org/TR/CSP3/
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_NAMES = ("127.0.0.1", "localhost", "[::1]")
_SLOW_CALLER_S = 5.0
Answer = tuple[int, bytes, str]  # status, content, its type
Answers = Mapping[str, Callable[[], Answer]]


def files() -> Answers:
    """Return the page's files by path, read once."""
    folder = Path(__file__).parent
    return {path: partial(_file, (folder / name).read_bytes(), kind) for path, (name, kind) in _FILES.items()}


def _file(content: bytes, kind: str) -> Answer:
    return 200, content, kind


class _Handler(BaseHTTPRequestHandler):
    """Answers from memory, so that no part of the fleet that hangs keeps a caller waiting."""

    protocol_version = "HTTP/1.1"
    timeout = _SLOW_CALLER_S
    server: Server

    def do_GET(self) -> None:
        """Answer a GET, and a HEAD without the content."""
        path = self.path.partition("?")[0]
        answer = self.server.answers.get(path)
        if not self._is_named():
            # A page elsewhere could lead its own name here and read the status. Source: https://en.wikipedia.org/wiki/DNS_rebinding
            self._send(403, b"ask for it by 127.0.0.1 or localhost\n", "text/plain; charset=utf-8")
        elif answer is None:
            self._send(404, b"not found\n", "text/plain; charset=utf-8")
        else:
            self._send(*answer())

    do_HEAD = do_GET  # noqa: N815  # http.server's name for it

    def _is_named(self) -> bool:
        host = self.headers.get("Host", "")
        return host in _NAMES or host.rpartition(":")[0] in _NAMES

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def version_string(self) -> str:
        """Name no version of Python in the header `Server`."""
        return "fleet"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing: a page asks every two seconds."""


class Server(ThreadingHTTPServer):
    """A server of `answers` by path."""

    # Its threads wait for nothing but their callers.
    daemon_threads = True

    def __init__(self, answers: Answers, port: int) -> None:
        self.answers = answers
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Drop a caller that went away."""


class UnixServer(Server):
    """The same on a Unix socket, for the checks of the fleet's other processes."""

    address_family = socket.AF_UNIX

    def __init__(self, answers: Answers, path: Path) -> None:
        self.answers = answers
        path.unlink(missing_ok=True)  # left by an earlier process
        super(ThreadingHTTPServer, self).__init__(str(path), _Handler)  # type: ignore[arg-type]  # of TCP in typeshed

    def server_bind(self) -> None:
        """Bind without a look-up of the host's name, which a path has not."""
        self.socket.bind(str(self.server_address))
        self.server_name, self.server_port = "localhost", 0
