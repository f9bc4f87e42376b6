"""The parsers of callers' bytes, each as a function of bytes, for coverage-guided fuzzing by atheris.

    python -m drills.hostile.targets BUNDLE TARGET RUNS [SEED]      with atheris on the path, in the serving environment

Prints JSON: `runs`, `warm_mb` and `end_mb` (memory of this process after a tenth of the runs and after all). Ends at the first failed
check with a traceback and its input.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import atheris

from harness import processes

with atheris.instrument_imports(include=["bentos", "contract"]):
    from bentos.core import Core
    from bentos.protocols import json_body
    from bentos.protocols.connections.gate import Gate
    from bentos.protocols.grpc.app import GrpcApp
    from bentos.protocols.grpc.connection import GrpcConnection
    from bentos.protocols.http.app import HttpApp
    from bentos.protocols.http.exchange import Request
    from bentos.protocols.http.http1.connection import HttpConnection
    from bentos.protocols.http.http1.door import Door
    from bentos.protocols.http2 import frames
    from bentos.protocols.oip import kinds, tensors
    from bentos.rounds import Unscored
    from contract.errors import RequestError
    from drills.hostile import seeds
    from harness.bundles import Bundle

_JSON = {b"content-type": b"application/json"}
_SANE = frozenset((200, 400, 413, 415, 422))
_START = frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 70000})
_TURNS = 4  # of the event loop, for callbacks that wait for the next turn
_MOST_BYTES = 4096
_DATATYPES = sorted(kinds.ANY)


class Defects(logging.Handler):
    """A handler that collects the errors logged as the server's own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Collect a record of an error."""
        self.found.append(record.getMessage())


def read_json(content: bytes) -> None:
    """Check that the fast JSON reader accepts only what the strict one accepts, and reads the same values and types."""
    try:
        value = json_body.decode(content)
    except RequestError:
        return
    again = json.loads(content.decode(), parse_constant=_no_constant, object_pairs_hook=_unique)
    assert repr(value) == repr(again)
    if "inf" not in repr(value):  # 1e999, which the schema rejects, so no answer holds it
        assert json.loads(json_body.encode(value)) == value


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} was accepted")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), "a key twice was accepted"
    return dict(pairs)


def read_tensors(content: bytes) -> None:
    """Check that raw contents are rejected, or read as many values as the shape says, which encode to the same bytes."""
    given = atheris.FuzzedDataProvider(content)
    datatype = given.PickValueInList(_DATATYPES)
    size = given.ConsumeIntInRange(0, 64)
    rest = given.ConsumeBytes(_MOST_BYTES)
    try:
        values = tensors.from_wire(("x", datatype, size), rest)
    except RequestError:
        return
    assert len(values) == size
    if datatype in ("BYTES", "FP64"):
        again = tensors.to_wire(tensors.Tensor("x", datatype, values))
        # NaN has many bit patterns, and one of them is written.
        assert again == rest or any(value != value for value in values)


@dataclass
class OverHttp:
    """A set of targets: bodies of requests to the application."""

    app: HttpApp
    defects: Defects

    def body(self, path: str, headers: dict[bytes, bytes], content: bytes) -> None:
        """Send a body to a path; check the answer."""
        request = Request("POST", path, {**headers, b"content-length": b"%d" % len(content)}, 0.0)
        response = self.app.begin(request)
        if response is None:
            request.body = content
            answer = self.app.predict(request)
            if isinstance(answer, Unscored):
                answer = self.app.score(request, answer, self.app.core.rounds.alone(answer.columns))
            response = answer
        assert response.status in _SANE, self.defects.found
        if response.content_type == b"application/json":
            json.loads(response.body, parse_constant=_no_constant)

    def predict(self, content: bytes) -> None:
        """Send a body to `/predict`."""
        self.body("/predict", _JSON, content)

    def infer(self, content: bytes) -> None:
        """Send binary tensors to `/v2`; the first two bytes are the length of the JSON before them."""
        length = int.from_bytes(content[:2], "big")
        headers = {b"inference-header-content-length": b"%d" % length} if length else _JSON
        self.body(f"/v2/models/{self.app.core.name}/infer", headers, content[2:])


class Transport(asyncio.Transport):
    """A transport that keeps the written bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closing = False

    def write(self, data: Any) -> None:
        """Keep the bytes."""
        self.written += data

    def close(self) -> None:
        """Mark the transport as closing."""
        self.closing = True

    abort = close

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading

    def can_write_eof(self) -> bool:
        return False


@dataclass
class OnConnections:
    """A set of targets: bytes of a connection, which need not be requests."""

    loop: asyncio.AbstractEventLoop
    gate: Any  # a `Gate`; for HTTP a `Door`
    defects: Defects

    def http(self, content: bytes) -> None:
        """Send bytes to an HTTP connection, in as many pieces as the first byte says."""
        written = self._feed(lambda: HttpConnection(self.gate), content[1:], content[:1])
        for status in _statuses(written, to_head=b"HEAD" in content):
            assert status < 500 or status in (501, 503, 505), written

    def grpc(self, app: GrpcApp, content: bytes) -> None:
        """Send bytes to a gRPC connection, in pieces, after a valid connection start or without it."""
        start = _START if content[:1] < b"\xf0" else b""
        written = self._feed(lambda: GrpcConnection(app, self.gate), start + content[1:], content[:1])
        while written:
            high, low, *_ = frames.HEAD.unpack_from(written)
            assert len(written) >= frames.HEAD_BYTES + (high << 16 | low), written
            written = written[frames.HEAD_BYTES + (high << 16 | low) :]

    def _feed(self, connect: Callable[[], Any], content: bytes, pieces: bytes) -> bytes:
        """Return the bytes written to a connection that gets this content and is then lost."""
        written = self.loop.run_until_complete(self._pass(connect, content, 1 + sum(pieces) % 4))
        assert (self.gate.held_bytes, len(self.gate.connections), self.defects.found) == (0, 0, [])
        return written

    async def _pass(self, connect: Callable[[], Any], content: bytes, pieces: int) -> bytes:
        transport = Transport()
        connection = connect()
        connection.connection_made(transport)
        size = -(-len(content) // pieces) or 1
        for start in range(0, len(content), size):
            if not transport.closing:
                connection.data_received(content[start : start + size])
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        connection.connection_lost(None)
        return transport.written


def _statuses(written: bytes, *, to_head: bool) -> Iterator[int]:
    """Yield the statuses of the answers, which must be complete and in sequence; an answer to HEAD has no body."""
    while written:
        head, found, written = written.partition(b"\r\n\r\n")
        assert found, head
        assert head.startswith(b"HTTP/1.1 "), head
        status = int(head[9:12])
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        assert length or status == 100, head
        if not to_head or (written and not written.startswith(b"HTTP/1.1 ")):
            assert len(written) >= int(length or 0), head
            written = written[int(length or 0) :]
        yield status


def targets(core: Core, loop: asyncio.AbstractEventLoop, defects: Defects) -> dict[str, Callable[[bytes], None]]:
    """Return every target by name."""
    app = HttpApp(core)
    over_http = OverHttp(app, defects)
    return {
        "json": read_json,
        "tensors": read_tensors,
        "predict": over_http.predict,
        "infer": over_http.infer,
        "http": OnConnections(loop, Door(app), defects).http,
        "grpc": partial(OnConnections(loop, Gate(core), defects).grpc, GrpcApp(core)),
    }


def resident_mb() -> float:
    """Return this process's memory, in MB."""
    return processes.resident_bytes(os.getpid()) / 1e6


def main(bundle: Path, target: str, runs: int, seed: int = 1) -> None:
    """Fuzz a target for so many runs, and print the memory; end with a traceback at the first failure."""
    defects = Defects()
    logging.getLogger("bentos").addHandler(defects)
    logging.getLogger("bentos").propagate = False
    core = Core.load(bundle)
    core.ready = True
    check = targets(core, asyncio.new_event_loop(), defects)[target]
    done, warm_mb = 0, 0.0

    def one(content: bytes) -> None:
        nonlocal done, warm_mb
        check(content)
        done += 1
        if done == runs // 10:
            warm_mb = resident_mb()
        if done == runs:
            print(json.dumps({"runs": done, "warm_mb": warm_mb, "end_mb": resident_mb()}), flush=True)
            os._exit(0)  # atheris ends the process without Python's exit handlers

    with tempfile.TemporaryDirectory() as scratch:
        corpus, words = Path(scratch) / "corpus", Path(scratch) / "words"
        corpus.mkdir()
        words.write_text(seeds.dictionary(Bundle(bundle)))
        for index, content in enumerate(seeds.seeds(Bundle(bundle), target)):
            (corpus / f"{index}").write_bytes(content)
        options = {
            "seed": seed,
            "max_len": _MOST_BYTES,
            "timeout": 10,
            "artifact_prefix": f"{scratch}/",
            "dict": words,
            "verbosity": 0,
        }
        given = [f"-{name}={value}" for name, value in options.items()]
        atheris.Setup([sys.argv[0], *given, str(corpus)], one, enable_python_coverage=True)
        atheris.Fuzz()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *map(int, sys.argv[4:5]))
