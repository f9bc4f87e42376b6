"""`python -m bentos.rehearsal BUNDLE SECONDS`: serve a bundle, send it golden and malformed requests, print the findings as JSON.

SECONDS limits the start. It runs in the bundle's serving environment, needs nothing but that and the bundle, and may be sandboxed: the only
network it needs is the loopback. Its caller judges the findings.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from bentos.protocols.grpc.status import Status
from bentos.rehearsal import asking
from bentos.rehearsal.channel import GrpcChannel, RefusedError
from contract.bundle import manifest

_ROUNDS = 20  # over all golden requests, for the latency


def main(bundle: Path, start_limit_s: float) -> dict[str, Any]:
    """Serve the bundle, send it requests, and stop it.

    Returns:
        `ready_s`, `p99_ms` of single rows over HTTP, `cpu_s_per_1000` of them, `memory_mb` (resident, all processes of the server),
        `asked`, the counts of requests, and `wrong`, a text for each wrong answer; for a bundle that does not start, `wrong` only, with
        the end of its log.
    """
    artifact = bundle / manifest.ARTIFACT
    cases = json.loads((artifact / manifest.GOLDEN_FILE_NAME).read_bytes())
    schema = json.loads((artifact / "schema.json").read_bytes())
    http_port, grpc_port = _free_ports()
    command = [sys.executable, "-m", "bentoml", "serve", str(bundle), "--host", "127.0.0.1", "--port", str(http_port)]
    environment = os.environ | {"BULKHEAD_GRPC_PORT": str(grpc_port), "BENTOML_DO_NOT_TRACK": "true"}
    log = Path("server.log")
    with log.open("wb") as out:
        server = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        started = time.monotonic()
        if not _is_ready(server, http_port, started + start_limit_s):
            end = log.read_text(errors="replace")[-2000:]
            how = f"is not ready within {start_limit_s:g} s" if server.poll() is None else "ended while it started"
            return {"wrong": [f"it {how}; the end of its log:\n{end}"]}
        ready_s = time.monotonic() - started
        digest = manifest.digest_of(bundle)
        with GrpcChannel(f"127.0.0.1:{grpc_port}") as channel:
            connection = HTTPConnection("127.0.0.1", http_port, timeout=10)
            wrong = [*_golden_over_http(connection, cases, digest), *_golden_over_grpc(channel, cases, schema, digest)]
            refusals = list(_refusals(connection, channel, cases[0]["row"], schema))
        used = _cpu_s(server.pid)
        times = _times_s(http_port, cases)
        used = _cpu_s(server.pid) - used
        return {
            "ready_s": round(ready_s, 3),
            "p99_ms": round(sorted(times)[int(len(times) * 0.99)] * 1000, 3),
            "cpu_s_per_1000": round(used / len(times) * 1000, 3),
            "memory_mb": round(sum(map(_resident_mb, _tree(server.pid))), 1),
            "asked": {"http": len(cases), "grpc": len(cases), "malformed": len(refusals)},
            "wrong": wrong + [text for text in refusals if text],
        }
    finally:
        server.terminate()
        server.wait()


def _free_ports() -> tuple[int, int]:
    # Both are open at once, or the system could give one port twice.
    with socket.socket() as first, socket.socket() as second:
        for listener in (first, second):
            listener.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def _is_ready(server: subprocess.Popen[bytes], port: int, deadline: float) -> bool:
    while server.poll() is None and time.monotonic() < deadline:
        connection = HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return True
        except (OSError, HTTPException):
            time.sleep(0.05)
        finally:
            connection.close()
    return False


def _golden_over_http(connection: HTTPConnection, cases: list[Any], digest: str) -> Iterator[str]:
    for index, case in enumerate(cases):
        try:
            found = asking.over_http(connection, case["row"])
        except (ValueError, OSError, HTTPException) as error:
            yield f"golden request {index} over HTTP: {error}"
            continue
        yield from _difference(f"golden request {index} over HTTP", found, (case["answer"], digest))


def _golden_over_grpc(channel: GrpcChannel, cases: list[Any], schema: Any, digest: str) -> Iterator[str]:
    for index, case in enumerate(cases):
        row = {name: value for name, value in case["row"].items() if value is not None}
        try:
            found = asking.over_grpc(channel, row, schema)
        except (RefusedError, OSError) as error:
            yield f"golden request {index} over gRPC: {error}"
            continue
        yield from _difference(f"golden request {index} over gRPC", found, (case["answer"], digest))


def _difference(what: str, found: tuple[Any, str], expected: tuple[Any, str]) -> Iterator[str]:
    """Yield a text for each difference; it may quote values, since golden requests are made from the schema."""
    if found[1] != expected[1]:
        yield f"{what}: the answer names model version {found[1]}, not {expected[1]}"
    if found[0] != expected[0]:
        yield f"{what}: answered {json.dumps(found[0])}, not {json.dumps(expected[0])}"


def _refusals(connection: HTTPConnection, channel: GrpcChannel, row: dict[str, Any], schema: Any) -> Iterator[str]:
    """Send malformed requests; yield "" for each that was rejected as it should be, else a text."""
    needed = [field["name"] for field in schema["fields"] if field.get("required", True)]
    required = needed[0] if needed else next(iter(row))
    without = {name: value for name, value in row.items() if name != required}
    strange = {**row, "no_such_field": "1"}
    listed = {**row, required: [1]}
    incomplete = [("a required field missing", without)] if needed else []
    for what, body, named in (
        *((what, json.dumps({"rows": [malformed]}), required) for what, malformed in incomplete),
        ("an unknown field", json.dumps({"rows": [strange]}), "no_such_field"),
        ("a list for a value", json.dumps({"rows": [listed]}), required),
        ("NaN, which is no JSON", json.dumps({"rows": [{**row, required: float("nan")}]}), ""),
        ("half of a JSON object", '{"rows": [', ""),
        ("no rows", "{}", ""),
    ):
        status, content = asking.post(connection, body.encode())
        refused = 400 <= status < 500 and named in content.decode(errors="replace")
        yield (
            ""
            if refused
            else f"{what} over HTTP: answered with {status}, expected a 4xx that names {named or 'the cause'!r}"
        )
    for what, malformed in (*incomplete, ("an unknown field", strange)):
        try:
            asking.over_grpc(channel, malformed, schema)
            yield f"{what} over gRPC: answered with OK, expected INVALID_ARGUMENT"
        except RefusedError as error:
            refused = error.status is Status.INVALID_ARGUMENT
            yield "" if refused else f"{what} over gRPC: answered with {error.status.name}, expected INVALID_ARGUMENT"


def _times_s(port: int, cases: list[Any]) -> list[float]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    bodies = [json.dumps({"rows": [case["row"]]}).encode() for case in cases] * _ROUNDS
    times = []
    for body in bodies:
        started = time.perf_counter()
        asking.post(connection, body)
        times.append(time.perf_counter() - started)
    return times


def _cpu_s(root: int) -> float:
    """Return the CPU time that the processes of a server have used so far."""
    ticks = 0
    for process in _tree(root):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _tree(root: int) -> Iterator[int]:
    yield root
    for path in Path(f"/proc/{root}/task").glob("*/children"):
        for child in path.read_text().split():
            yield from _tree(int(child))


def _resident_mb(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]).resolve(), float(sys.argv[2]))))
