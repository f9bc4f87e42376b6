"""Callers that exceed every limit: endless bodies, and bodies that decompress to more than memory holds.

    python -m drills.callers.greedy HTTP_PORT GRPC_PORT --seconds S

One caller of each kind at a time, repeatedly. Prints JSON by kind: `callers`, `outcomes` (the status of the answer, or the HTTP/2 frame
that ended the call; `none`: cut off without either; `endured`: not cut off), `wrong` (number of wrong outcomes), `most_sent_bytes` (the
most that one sent before the server ended the connection, with the bytes in the sockets' buffers). Standard library only.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import select
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from bentos.protocols.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    GOAWAY,
    HEADERS,
    RST_STREAM,
    frame,
)
from harness import processes
from harness.load.wires import GREETING, REQUEST_HEAD, frames, literal

_MIB = 1 << 20
LONG_BYTES = 300 * 1000 * 1000
_PATIENCE_S = 30
_BUSY = "503"  # a rejection, too
_PAUSE_S = 0.2  # between two callers of a kind: the drill measures their cost, not the network's throughput
_JSON = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
_BOMB = gzip.compress(bytes(300 * _MIB), 9)
_CALL = GREETING + frame(HEADERS, END_HEADERS, 1, REQUEST_HEAD)
_CHUNKED = _JSON + b"Transfer-Encoding: chunked\r\n\r\n"


def _declared() -> Iterator[bytes]:
    """Yield 300 MB, as declared."""
    yield _JSON + b"Content-Length: %d\r\n\r\n" % LONG_BYTES
    for _ in range(LONG_BYTES // _MIB):
        yield b" " * _MIB


def _chunked() -> Iterator[bytes]:
    """Yield chunks without an end."""
    yield _CHUNKED
    while True:
        yield b"100000\r\n" + b" " * _MIB + b"\r\n"


def _tiny_chunks() -> Iterator[bytes]:
    """Yield chunks of one byte without an end, each with six bytes of overhead."""
    yield _CHUNKED
    while True:
        yield b"1\r\n \r\n" * 10_000


def _trailers() -> Iterator[bytes]:
    """Yield a short body, then trailers without an end."""
    yield _CHUNKED + b"2\r\n{}\r\n0\r\n"
    yield from _fields()


def _headers() -> Iterator[bytes]:
    """Yield headers without an end."""
    yield _JSON
    yield from _fields()


def _fields() -> Iterator[bytes]:
    """Yield headers of distinct names: a few bytes on the wire, many in a dictionary."""
    for first in count(step=10_000):
        yield b"".join(b"%x: b\r\n" % number for number in range(first, first + 10_000))


def _bomb() -> Iterator[bytes]:
    """Yield 300 MiB compressed to 300 KiB, as Content-Encoding gzip."""
    yield _JSON + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(_BOMB) + _BOMB


def _coded_bomb() -> Iterator[bytes]:
    """Yield 300 MiB compressed to 300 KiB, as Transfer-Encoding gzip."""
    yield _JSON + b"Transfer-Encoding: gzip, chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(_BOMB), _BOMB)


def _message() -> Iterator[bytes]:
    """Yield a gRPC message of 300 MB, as its prefix declares, regardless of HTTP/2's window."""
    yield _CALL
    yield frame(DATA, 0, 1, b"\0" + LONG_BYTES.to_bytes(4, "big"))
    for _ in range(LONG_BYTES // FRAME_BYTES):
        yield frame(DATA, 0, 1, b" " * FRAME_BYTES)


def _continuations() -> Iterator[bytes]:
    """Yield a call's header fields without an end."""
    yield GREETING + frame(HEADERS, 0, 1, REQUEST_HEAD)
    for first in count(step=1000):
        fields = b"".join(literal(b"x%d" % number, b"y") for number in range(first, first + 1000))
        yield b"".join(
            frame(CONTINUATION, 0, 1, fields[at : at + FRAME_BYTES]) for at in range(0, len(fields), FRAME_BYTES)
        )


def _compressed() -> Iterator[bytes]:
    """Yield 300 MiB compressed to 300 KiB, as a compressed message."""
    yield GREETING + frame(HEADERS, END_HEADERS, 1, REQUEST_HEAD + literal(b"grpc-encoding", b"gzip"))
    message = b"\1" + len(_BOMB).to_bytes(4, "big") + _BOMB
    yield b"".join(frame(DATA, 0, 1, message[at : at + FRAME_BYTES]) for at in range(0, len(message), FRAME_BYTES))


# With the right outcomes.
HTTP_KINDS = {
    "300 MB declared": (_declared, {"413"}),
    "endless chunks": (_chunked, {"413"}),
    "endless tiny chunks": (_tiny_chunks, {"413"}),
    "endless trailers": (_trailers, {"413"}),
    "endless headers": (_headers, {"431"}),
    "gzip bomb": (_bomb, {"413", "415"}),
    "gzip bomb as a transfer coding": (_coded_bomb, {"501"}),
}
GRPC_KINDS = {
    "300 MB in a message": (_message, {"refused", "RST_STREAM", "GOAWAY"}),
    "endless fields": (_continuations, {"refused", "GOAWAY", "none"}),
    "gzip bomb in a message": (_compressed, {"refused", "RST_STREAM"}),
}


def http_status(received: bytes) -> str:
    """Return the status of a response; empty while there is none."""
    return received[9:12].decode() if b"\r\n\r\n" in received else ""


def grpc_end(received: bytes) -> str:
    """Return the frame that ended the call or the connection; empty while none did."""
    for kind, flags in frames(received):
        if kind == HEADERS and flags & END_STREAM:
            return "refused"
        if kind in (RST_STREAM, GOAWAY):
            return {RST_STREAM: "RST_STREAM", GOAWAY: "GOAWAY"}[kind]
    return ""


class _Greedy:
    """One caller, which keeps sending, whatever the answer, until it is cut off."""

    def __init__(self, port: int, outcome: Callable[[bytes], str]) -> None:
        self._outcome = outcome
        self._connection = socket.create_connection(("127.0.0.1", port), _PATIENCE_S)
        self._received = b""
        self.sent = 0

    def run(self, parts: Iterator[bytes]) -> str:
        """Send the parts and return the outcome; `none` if cut off without an answer, `endured` if not cut off in time."""
        deadline = time.monotonic() + _PATIENCE_S
        with self._connection:
            self._connection.setblocking(False)
            try:
                for part in parts:
                    self._send(memoryview(part), deadline)
                while not self._outcome(self._received) and self._read(deadline):
                    pass
            except TimeoutError:
                return "endured"
            except OSError:
                pass  # cut off, as intended
        return self._outcome(self._received) or "none"

    def _send(self, view: memoryview, deadline: float) -> None:
        while view:
            readable, writable = self._wait(deadline, [self._connection])
            if readable and not self._read(deadline):
                raise ConnectionResetError
            if writable:
                count = self._connection.send(view)
                self.sent += count
                view = view[count:]

    def _read(self, deadline: float) -> bool:
        """Read what has arrived; tell whether more may come."""
        self._wait(deadline, [])
        chunk = self._connection.recv(1 << 16)
        self._received += chunk
        return bool(chunk)

    def _wait(self, deadline: float, to_write: list[socket.socket]) -> tuple[bool, bool]:
        readable, writable, _ = select.select([self._connection], to_write, [], max(0.0, deadline - time.monotonic()))
        if (not readable and not writable) or time.monotonic() > deadline:
            raise TimeoutError
        return bool(readable), bool(writable)


def attack(http_port: int, grpc_port: int, seconds: float) -> dict[str, dict[str, Any]]:
    """Run all kinds at once, repeatedly for so long; return counts and outcomes by kind."""
    kinds = {kind: (http_port, http_status, *entry) for kind, entry in HTTP_KINDS.items()}
    kinds |= {kind: (grpc_port, grpc_end, *entry) for kind, entry in GRPC_KINDS.items()}
    outcomes: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    most = dict.fromkeys(kinds, 0)
    end = time.monotonic() + seconds

    def repeat(kind: str) -> None:
        port, outcome, parts, _ = kinds[kind]
        while time.monotonic() < end:
            caller = _Greedy(port, outcome)
            outcomes[kind][caller.run(parts())] += 1
            most[kind] = max(most[kind], caller.sent)
            time.sleep(_PAUSE_S)

    threads = [threading.Thread(target=repeat, args=[kind]) for kind in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        kind: {
            "callers": sum(outcomes[kind].values()),
            "outcomes": outcomes[kind],
            "wrong": sum(callers for outcome, callers in outcomes[kind].items() if outcome not in (*right, _BUSY)),
            "most_sent_bytes": most[kind],
        }
        for kind, (*_, right) in kinds.items()
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the callers and print their counts."""
    parser = argparse.ArgumentParser(prog="python -m drills.callers.greedy", description=__doc__.partition("\n")[0])
    parser.add_argument("http_port", type=int)
    parser.add_argument("grpc_port", type=int)
    parser.add_argument("--seconds", type=float, required=True)
    asked = parser.parse_args(arguments)
    processes.pin(processes.LOAD_CORE)
    os.nice(5)  # good callers share this core and must not wait for this program
    print(json.dumps(attack(asked.http_port, asked.grpc_port, asked.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
