"""Run inside of a sandbox: serve /bundle there, ask it every golden request over both protocols, and say what its worker may do."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

sys.path.insert(0, "/bundle/src")
from bentos.rehearsal import asking
from bentos.rehearsal.channel import GrpcChannel
from contract.bundle import manifest

ARTIFACT = Path("/bundle/src/bundle")
PLACES = ("/", "/bundle", "/bundle/src/bentos", "/etc", "/usr", "/dev", "/dev/shm", "/var/tmp", "/tmp", sys.prefix)
HTTP, GRPC = ("127.0.0.1", 3000), "127.0.0.1:3001"


def is_writable(directory: str) -> bool:
    try:
        Path(directory, "written").touch()
    except OSError:
        return False
    return True


def reaches_out() -> bool:
    """Whether there is a way out; 192.0.2.1 is reserved for documentation, and a route to it is a route to everywhere."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))
    except OSError:
        return False
    return True


def wait(server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and server.poll() is None:
        connection = HTTPConnection(*HTTP, timeout=5)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    sys.exit("not ready:\n" + Path("/tmp/log").read_text()[-3000:])


def answers() -> dict[str, Any]:
    rows = [case["row"] for case in json.loads((ARTIFACT / "golden.json").read_bytes())]
    schema = json.loads((ARTIFACT / "schema.json").read_bytes())
    known = [{name: value for name, value in row.items() if value is not None} for row in rows]
    connection = HTTPConnection(*HTTP, timeout=10)
    with GrpcChannel(GRPC) as channel:
        return {
            "http": [asking.over_http(connection, row) for row in rows],
            "grpc": [asking.over_grpc(channel, row, schema) for row in known],
        }


def cpu_ticks(worker: int) -> dict[str, int]:
    """By thread, the time that it has used."""
    ticks = {}
    for thread in Path(f"/proc/{worker}/task").iterdir():
        columns = (thread / "stat").read_text().rpartition(")")[2].split()
        ticks[thread.name] = int(columns[11]) + int(columns[12])
    return ticks


def predicting_threads(worker: int) -> int:
    """How many threads share the work of large requests: those that did a tenth of it or more."""
    row = json.loads((ARTIFACT / "golden.json").read_bytes())[0]["row"]
    body = json.dumps({"rows": [row] * 1000}).encode()
    connection = HTTPConnection(*HTTP, timeout=30)
    before = cpu_ticks(worker)
    for _ in range(20):
        status, _ = asking.post(connection, body)
        assert status == 200
    used = {thread: ticks - before.get(thread, 0) for thread, ticks in cpu_ticks(worker).items()}
    return sum(ticks * 10 >= sum(used.values()) for ticks in used.values())


def main() -> dict[str, Any]:
    command = [sys.executable, "-m", "bentoml", "serve", "/bundle", "--host", HTTP[0], "--port", str(HTTP[1])]
    with Path("/tmp/log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    wait(server)
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    (worker,) = [int(pid) for pid in children if b"bentos.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    status = dict(line.split(":", 1) for line in Path(f"/proc/{worker}/status").read_text().splitlines())
    found = {
        **answers(),
        "ids": sorted({int(number) for key in ("Uid", "Gid") for number in status[key].split()}),
        "capabilities": sorted({int(status[key], 16) for key in ("CapPrm", "CapEff", "CapBnd", "CapAmb")}),
        "writable": [place for place in PLACES if is_writable(place)],
        "interfaces": [line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]],
        "reached": reaches_out(),
        "predicting_threads": predicting_threads(worker),
        "digest": manifest.digest_of(Path("/bundle")),
    }
    server.send_signal(signal.SIGTERM)
    return found | {"exit_code": server.wait(30)}


print(json.dumps(main()))
