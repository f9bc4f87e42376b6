"""Google Cloud Storage as its XML API is documented: one bucket, in memory, whose generations decide about conditional writes.

https://cloud.google.com/storage/docs/xml-api/reference-headers
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET, TOKEN = "models", "token"


class Server(ThreadingHTTPServer):
    """Attributes: stored: generation, time and content by key."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.stored: dict[str, tuple[int, datetime, bytes]] = {}
        self.lock, self._generations = threading.Lock(), itertools.count(1_700_000_000, 7)

    def store(self, key: str, content: bytes) -> None:
        self.stored[key] = (next(self._generations), datetime.now(UTC).replace(microsecond=0), content)

    def handle_error(self, *arguments: Any) -> None:
        """A connection that the other side gave up is nothing to print."""


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *arguments: Any) -> None:
        pass

    def parse_request(self) -> bool:
        """Refuse a wrong token and another bucket before anything else."""
        if not super().parse_request():
            return False
        bucket, _, self.key = unquote(urlsplit(self.path).path)[1:].partition("/")
        self.content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(401, b"<Error><Code>AuthenticationRequired</Code></Error>")
        elif bucket != BUCKET:
            self._answer(404, b"<Error><Code>NoSuchBucket</Code><Message>The bucket does not exist</Message></Error>")
        else:
            return True
        return False

    def do_PUT(self) -> None:
        with self.server.lock:
            current = self.server.stored.get(self.key, (0,))[0]
            is_wanted = int(self.headers.get("x-goog-if-generation-match", current)) == current
            if is_wanted:
                self.server.store(self.key, self.content)
        if is_wanted:
            self._answer(200, b"", self.key)
        else:
            self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")

    def do_GET(self) -> None:
        if not self.key:
            self._answer(200, self._listing(parse_qs(urlsplit(self.path).query)["prefix"][0]))
        elif self.key in self.server.stored:
            self._answer(200, self.server.stored[self.key][2], self.key)
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def do_DELETE(self) -> None:
        is_there = self.server.stored.pop(self.key, None) is not None
        self._answer(204 if is_there else 404, b"")

    def _listing(self, prefix: str) -> bytes:
        objects = (
            f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size><ETag>{_etag(content)}</ETag>"
            f"<LastModified>{at.isoformat()}</LastModified></Contents>"
            for key, (_, at, content) in sorted(self.server.stored.items())
            if key.startswith(prefix)
        )
        return f"<ListBucketResult>{''.join(objects)}</ListBucketResult>".encode()

    def _answer(self, status: int, content: bytes, key: str = "") -> None:
        self.send_response(status)
        if key:
            generation, at, stored = self.server.stored[key]
            self.send_header("ETag", _etag(stored))
            self.send_header("Last-Modified", format_datetime(at, usegmt=True))
            self.send_header("x-goog-generation", str(generation))
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _etag(content: bytes) -> str:
    return f'"{md5(content, usedforsecurity=False).hexdigest()}"'


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
