"""Start ours and the peers: one replica each, pinned to one core, waited for until it answers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness import PROJECT, interpreter, processes
from harness.bundles import Bundle
from harness.ports import free_ports

OURS = "bulkhead"
PREDICT_PROBA = "FastAPI + predict_proba"
INPLACE_PREDICT = "FastAPI + inplace_predict"
BENTOML_API = "@bentoml.api + inplace_predict"
NAIVE = "@bentoml.api + pickled pipeline"
HELLO = "bare ASGI hello"
GRPC_HELLO = "bare grpc.aio hello"
_READY_LIMIT_S = 90
# On a busy machine the generator's warm-up leaves a slow server's connections idle for longer than the usual 5 s.
_PATIENT = ("--timeout-keep-alive", "60")
_PAUSE_S = 0.01


class NotReadyError(Exception):
    """A server ended, or did not answer in time; with the end of its log."""


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        ready_s: from its start to its first 200 on `/readyz`.
    """

    name: str
    pid: int
    port: int
    ready_s: float
    grpc_port: int = 0


Starter = Callable[[Bundle, Path], AbstractContextManager[Server]]  # of a bundle and a scratch directory


@contextmanager
def ours(bundle: Bundle, scratch: Path) -> Iterator[Server]:
    """Run `bentoml serve` of a copy of the bundle, as an operator would start it."""
    copy = scratch / "bundle"
    if not copy.exists():
        shutil.copytree(bundle.path, copy)
    port, grpc_port = free_ports(2)
    (scratch / "metrics").mkdir(exist_ok=True)
    environment = clean_environment() | {
        "BENTOML_HOME": str(scratch / "home"),
        "BENTOML_DO_NOT_TRACK": "true",
        "PROMETHEUS_MULTIPROC_DIR": str(scratch / "metrics"),
        "BULKHEAD_GRPC_PORT": str(grpc_port),
    }
    command = bentoml_serve("serving", str(copy), port)
    with started(OURS, command, environment, scratch, port, cwd=scratch, grpc_port=grpc_port) as server:
        yield server


@contextmanager
def envoy(server: Server, scratch: Path) -> Iterator[Server]:
    """Run the fleet's Envoy before a replica, on the load's core."""
    port, grpc_port = free_ports(2)
    command = [str(interpreter("fleet")), "-m", "benchmarks.peers.fleet.envoy", str(scratch / "fleet")]
    command += [str(each) for each in (port, grpc_port, server.port, server.grpc_port)]
    core = processes.LOAD_CORE
    with started(
        "Envoy", command, clean_environment(), scratch, port, cwd=PROJECT, grpc_port=grpc_port, core=core
    ) as proxy:
        yield proxy


@contextmanager
def peer(name: str, bundle: Bundle, scratch: Path) -> Iterator[Server]:
    """Run FastAPI around the model of the bundle: PREDICT_PROBA or INPLACE_PREDICT."""
    settings = {"PEER_MODEL": str(bundle.model), "PEER_VARIANT": name.rpartition(" ")[2]}
    with _uvicorn(name, "benchmarks.peers.bench.fastapi_app:app", settings, scratch) as server:
        yield server


@contextmanager
def bentoml_api(bundle: Bundle, scratch: Path) -> Iterator[Server]:
    """Run `bentoml serve` of a service written with BentoML's own API, with all defaults."""
    (port,) = free_ports(1)
    settings = {
        "PEER_MODEL": str(bundle.model),
        "PEER_VARIANT": "inplace_predict",
        "BENTOML_HOME": str(scratch / "peer-home"),
        "BENTOML_DO_NOT_TRACK": "true",
    }
    command = [*bentoml_serve("bench", "benchmarks.peers.bench.bentoml_api:Peer", port), *_PATIENT]
    with started(BENTOML_API, command, clean_environment() | settings, scratch, port, cwd=PROJECT) as server:
        yield server


@contextmanager
def naive(bundle: Bundle, scratch: Path) -> Iterator[Server]:
    """Run the bento of the tutorials around the model of the bundle."""
    environment = clean_environment() | {"BENTOML_HOME": str(scratch / "naive"), "BENTOML_DO_NOT_TRACK": "true"}
    if not (scratch / "naive").exists():
        save = [str(interpreter("naive")), "-m", "benchmarks.peers.naive.pipeline", str(bundle.model)]
        subprocess.run(save, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL, check=True)
    (port,) = free_ports(1)
    command = [*bentoml_serve("naive", "benchmarks.peers.naive.service:Naive", port), *_PATIENT]
    with started(NAIVE, command, environment, scratch, port, cwd=PROJECT) as server:
        yield server


def bentoml_serve(environment: str, service: str, port: int) -> list[str]:
    """Return the command `bentoml serve` of an environment, for a bundle's path or the name of a service."""
    python = str(interpreter(environment))
    return [python, "-m", "bentoml", "serve", service, "--host", "127.0.0.1", "--port", str(port)]


@contextmanager
def hello(scratch: Path) -> Iterator[Server]:
    """Run a bare ASGI application, the limit for any ASGI server."""
    with _uvicorn(HELLO, "benchmarks.peers.bench.hello:app", {}, scratch) as server:
        yield server


@contextmanager
def _uvicorn(name: str, application: str, settings: dict[str, str], scratch: Path) -> Iterator[Server]:
    """Run one worker with uvloop and httptools and without an access log, the fastest setting of uvicorn."""
    (port,) = free_ports(1)
    command = [
        *(str(interpreter("bench")), "-m", "uvicorn", application, "--host", "127.0.0.1", "--port", str(port)),
        *("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning", *_PATIENT),
    ]
    with started(name, command, clean_environment() | settings, scratch, port, cwd=PROJECT) as server:
        yield server


@contextmanager
def grpc_hello(scratch: Path) -> Iterator[Server]:
    """Run a bare `grpc.aio` service, the limit for any `grpc.aio` server."""
    (port,) = free_ports(1)
    command = [str(interpreter("bench")), "-m", "benchmarks.peers.bench.grpc_hello", str(port)]
    with started(GRPC_HELLO, command, clean_environment(), scratch, port, cwd=PROJECT, grpc_port=port) as server:
        yield server


STARTERS: dict[str, Starter] = {
    OURS: ours,
    INPLACE_PREDICT: partial(peer, INPLACE_PREDICT),
    PREDICT_PROBA: partial(peer, PREDICT_PROBA),
    BENTOML_API: bentoml_api,
    NAIVE: naive,
    HELLO: lambda _, scratch: hello(scratch),
    GRPC_HELLO: lambda _, scratch: grpc_hello(scratch),
}


@contextmanager
def running(
    bundle: Bundle, names: Sequence[str], starters: Mapping[str, Starter] = STARTERS
) -> Iterator[dict[str, Server]]:
    """Run these servers, all on the same core; only one of them gets load at a time."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as scratch, ExitStack() as stack:
        yield {name: stack.enter_context(starters[name](bundle, Path(scratch))) for name in names}


def clean_environment() -> dict[str, str]:
    """Return this environment without the settings that would change a server."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "BENTOML", "BULKHEAD"))}


@contextmanager
def started(
    name: str,
    command: list[str],
    environment: dict[str, str],
    scratch: Path,
    port: int,
    *,
    cwd: Path,
    grpc_port: int = 0,
    ready_path: str = "/readyz",
    core: int = processes.SERVER_CORE,
) -> Iterator[Server]:
    """Run the server of a command; wait until `ready_path` answers 200, or until its port accepts if it has gRPC alone."""
    log = scratch / f"{name.replace(' ', '-')}.log"
    started = time.perf_counter()
    with processes.running(command, cwd=cwd, env=environment, log=log, core=core) as process:
        _wait_until_ready(name, process, port, log, None if port == grpc_port else ready_path)
        yield Server(name, process.pid, port, time.perf_counter() - started, grpc_port)


def _wait_until_ready(name: str, process: subprocess.Popen[bytes], port: int, log: Path, path: str | None) -> None:
    deadline = time.monotonic() + _READY_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        if answers(port, path):
            return
        time.sleep(_PAUSE_S)
    raise NotReadyError(f"{name} did not become ready:\n{log.read_text(errors='replace')[-3000:]}")


def answers(port: int, path: str | None) -> bool:
    """Tell whether the page at `path` answers 200; without a path, for gRPC, whether the port accepts."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            if path is None:
                return True
            connection.settimeout(5)
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
