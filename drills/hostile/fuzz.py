"""Send hostile requests to a running server, one after another, and judge every answer.

    python -m drills.hostile.fuzz BUNDLE --http HOST:PORT --grpc HOST:PORT [--requests N] [--seed S] [--first I] [--pid P]

Prints JSON: `counts` (fault → kind → protocol → outcome → requests), `failures` (the first of them, with their numbers: `--first` and
`--requests 1` send one again), `failed` (by fault), `warm_mb` and `end_mb` (memory of process P and its children, after a tenth of the
requests and after all), `pickle_ran`. Ends with 1 if there was a failure.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from drills.hostile import options
from drills.hostile.requests import CANARY, HTTP, RAW, Maker, Request
from harness import processes
from harness.bundles import Bundle

_PATIENCE_S = 20
_SHOWN = 20
Outcome = tuple[str, bytes]


class Http:
    """One HTTP connection, reopened when the server ends it."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = (host, int(port))
        self._connection: socket.socket | None = None

    def send(self, request: Request) -> Outcome:
        """Send a request; return status and body, the status `dropped` if there was no complete answer."""
        reused = self._connection is not None
        connection = self._connection or socket.create_connection(self._address, _PATIENCE_S)
        self._connection = None
        connection.settimeout(_PATIENCE_S)
        response = http.client.HTTPResponse(connection, method=request.method)
        try:
            connection.sendall(request.content)
            response.begin()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            # An idle connection may end at any time; the same on a new one is the server's fault.
            return self.send(request) if reused else ("dropped", repr(error).encode())
        if response.will_close:
            connection.close()
        else:
            self._connection = connection
        return str(response.status), body

    def send_bytes(self, request: Request) -> Outcome:
        """Send bytes that need not be HTTP on a connection of their own; return the status of the last answer, or `closed`."""
        received = b""
        with socket.create_connection(self._address, _PATIENCE_S) as connection:
            try:
                connection.sendall(request.content)
                connection.shutdown(socket.SHUT_WR)  # so that the server does not wait for the rest of a cut request
                while chunk := connection.recv(65536):
                    received += chunk
            except TimeoutError:
                return "hung", received
            except OSError:
                pass
        # A message may name HTTP/1.1, too.
        statuses = re.findall(rb"HTTP/1\.1 (\d{3}) ", received)
        return (statuses[-1].decode() if statuses else "closed"), received


class Grpc:
    """One gRPC channel."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)

    def send(self, request: Request) -> Outcome:
        """Send a request; return the name of its status, and the answer."""
        call = self._channel.unary_unary(f"/inference.GRPCInferenceService/{request.method}")
        try:
            return "OK", call(request.content, timeout=_PATIENCE_S)
        except grpc.RpcError as error:
            return error.code().name, (error.details() or "").encode()


def complaint(request: Request, outcome: str, body: bytes) -> str | None:
    """Return the defect of an answer; None if it has none."""
    if outcome not in request.allowed:
        return f"{outcome}, not one of {', '.join(sorted(request.allowed))}"
    if CANARY.encode() in body:
        return "the answer holds a value of the request"
    if request.answer is None and request.flagged is None:
        return None
    try:
        prediction = json.loads(body)["predictions"][0]
    except (ValueError, LookupError):
        return "no prediction"
    if request.answer is not None and prediction != request.answer:
        return "not the golden answer"
    flag = {"field": request.flagged, "problem": "unknown category"}
    return "not flagged" if request.flagged and flag not in prediction.get("fallbacks", []) else None


def resident_mb(pid: int | None) -> float:
    """Return the memory of a process tree, in MB; 0 without a process."""
    return processes.resident_mb(pid) if pid else 0.0


def fuzz(
    maker: Maker, send: Callable[[Request], Outcome], seed: int, numbers: range, pid: int | None
) -> dict[str, Any]:
    """Send the requests of these numbers; return the counts and failures."""
    counts: dict[int, dict[str, Counter[str]]] = {}
    failed: Counter[int] = Counter()
    failures = []
    warm_mb = 0.0
    for number in numbers:
        if number == numbers[len(numbers) // 10]:
            warm_mb = resident_mb(pid)
        request = maker.make(seed, number)
        outcome, body = send(request)
        kind = f"{request.kind} over {request.protocol}"
        counts.setdefault(request.fault, {}).setdefault(kind, Counter())[outcome] += 1
        if wrong := complaint(request, outcome, body):
            failed[request.fault] += 1
            failures.append({"number": number, "kind": kind, "wrong": wrong, "answer": repr(body[:200])})
    memory = {"warm_mb": warm_mb, "end_mb": resident_mb(pid)}
    return {"counts": counts, "failed": failed, "failures": failures[:_SHOWN], **memory}


def main(arguments: list[str] | None = None) -> int:
    """Run the fuzzer; return 1 if there was a failure."""
    parser = options.parser("drills.hostile.fuzz", __doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args(arguments)
    over_http, over_grpc = Http(asked.http), Grpc(asked.grpc)
    ways = {HTTP: over_http.send, RAW: over_http.send_bytes}
    with tempfile.TemporaryDirectory() as scratch:
        marker = Path(scratch) / "pickle-ran"
        maker = Maker(Bundle(asked.bundle), str(marker))
        numbers = range(asked.first, asked.first + asked.requests)
        found = fuzz(maker, lambda one: ways.get(one.protocol, over_grpc.send)(one), asked.seed, numbers, asked.pid)
        found["pickle_ran"] = marker.exists()
    print(json.dumps(found, indent=1))
    return 1 if found["failures"] or found["pickle_ran"] else 0


if __name__ == "__main__":
    sys.exit(main())
