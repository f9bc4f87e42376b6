"""Callers that send more than anybody may: bodies without an end, and bodies that would unpack to more than memory holds.

    python -m drills.greedy_callers PORT --seconds S

One of each kind at a time, again and again. Prints JSON by kind: `callers`, `outcomes` (the status that each was answered with; `none`:
cut off without one; `endured`: not cut off), `wrong` (how many of these are), `most_sent_bytes` (what one could send before the server
ended the connection, with what lies in the sockets' buffers). Standard library only.
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
from collections.abc import Iterator
from itertools import count
from typing import Any

from benchmarks import processes

_MIB = 1 << 20
LONG_BYTES = 300 * 1000 * 1000
_PATIENCE_S = 15
_PAUSE_S = 0.2  # of a kind, between two callers: what they cost is asked, not what the network bears
_JSON = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
_BOMB = gzip.compress(bytes(300 * _MIB), 9)
_CHUNKED = _JSON + b"Transfer-Encoding: chunked\r\n\r\n"


def _declared() -> Iterator[bytes]:
    """300 MB, as declared."""
    yield _JSON + b"Content-Length: %d\r\n\r\n" % LONG_BYTES
    for _ in range(LONG_BYTES // _MIB):
        yield b" " * _MIB


def _chunked() -> Iterator[bytes]:
    """Chunks without an end."""
    yield _CHUNKED
    while True:
        yield b"100000\r\n" + b" " * _MIB + b"\r\n"


def _tiny_chunks() -> Iterator[bytes]:
    """Chunks of one byte, without an end: six bytes each to say so."""
    yield _CHUNKED
    while True:
        yield b"1\r\n \r\n" * 10_000


def _trailers() -> Iterator[bytes]:
    """A short body, then trailers without an end."""
    yield _CHUNKED + b"2\r\n{}\r\n0\r\n"
    yield from _fields()


def _headers() -> Iterator[bytes]:
    """Headers without an end."""
    yield _JSON
    yield from _fields()


def _fields() -> Iterator[bytes]:
    """Each with a name of its own: a few bytes here, many in a dictionary."""
    for first in count(step=10_000):
        yield b"".join(b"%x: b\r\n" % number for number in range(first, first + 10_000))


def _bomb() -> Iterator[bytes]:
    """300 MiB in 300 KiB, said to be gzip."""
    yield _JSON + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(_BOMB) + _BOMB


def _coded_bomb() -> Iterator[bytes]:
    """The same as a transfer coding."""
    yield _JSON + b"Transfer-Encoding: gzip, chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(_BOMB), _BOMB)


# With the statuses that are right.
KINDS = {
    "300 MB declared": (_declared, {"413"}),
    "endless chunks": (_chunked, {"413"}),
    "endless tiny chunks": (_tiny_chunks, {"413"}),
    "endless trailers": (_trailers, {"413"}),
    "endless headers": (_headers, {"431"}),
    "gzip bomb": (_bomb, {"413", "415"}),
    "gzip bomb as a transfer coding": (_coded_bomb, {"400", "413", "415"}),
}


class _Greedy:
    """One caller, which sends on whatever it is answered, until it is cut off."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), _PATIENCE_S)
        self._received = b""
        self.sent = 0

    def run(self, parts: Iterator[bytes]) -> str:
        """The status that came; `none` if none did, `endured` if the server took it all without a word, or for too long."""
        deadline = time.monotonic() + _PATIENCE_S
        with self._connection:
            self._connection.setblocking(False)
            try:
                for part in parts:
                    self._send(memoryview(part), deadline)
                while b"\r\n\r\n" not in self._received and self._read(deadline):
                    pass
            except TimeoutError:
                return "endured"
            except OSError:
                pass  # cut off, as it should be
        return self._received[9:12].decode() or "none"

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
        """Whether there may be more to read."""
        self._wait(deadline, [])
        chunk = self._connection.recv(1 << 16)
        self._received += chunk
        return bool(chunk)

    def _wait(self, deadline: float, to_write: list[socket.socket]) -> tuple[bool, bool]:
        readable, writable, _ = select.select([self._connection], to_write, [], max(0.0, deadline - time.monotonic()))
        if (not readable and not writable) or time.monotonic() > deadline:
            raise TimeoutError
        return bool(readable), bool(writable)


def attack(port: int, seconds: float) -> dict[str, dict[str, Any]]:
    """All kinds at once, again and again for so long; what came of them, by kind."""
    outcomes: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    most = dict.fromkeys(KINDS, 0)
    end = time.monotonic() + seconds

    def repeat(kind: str) -> None:
        while time.monotonic() < end:
            caller = _Greedy(port)
            outcomes[kind][caller.run(KINDS[kind][0]())] += 1
            most[kind] = max(most[kind], caller.sent)
            time.sleep(_PAUSE_S)

    threads = [threading.Thread(target=repeat, args=[kind]) for kind in KINDS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        kind: {
            "callers": sum(outcomes[kind].values()),
            "outcomes": outcomes[kind],
            "wrong": sum(callers for outcome, callers in outcomes[kind].items() if outcome not in right),
            "most_sent_bytes": most[kind],
        }
        for kind, (_, right) in KINDS.items()
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m drills.greedy_callers", description=__doc__.partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--seconds", type=float, required=True)
    asked = parser.parse_args(arguments)
    processes.pin(processes.LOAD_CORE)
    os.nice(5)  # good callers, who share that core, shall not wait for this program
    print(json.dumps(attack(asked.port, asked.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
