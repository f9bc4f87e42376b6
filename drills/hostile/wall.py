"""What the wall around a replica costs: a replica with and without its sandbox, measured in turns."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

from contract.bundle import manifest
from drills.results import Result
from fleet.isolation import files
from fleet.isolation.sandbox import NAMESPACE, NONE, OTHER_USER, Sandbox
from fleet.supervisor import launcher
from harness import PROJECT, interpreter, processes
from harness.bundles import Bundle
from harness.load import closed_loop, generators
from harness.load.generators import Job
from harness.ports import free_ports
from harness.servers import answers, clean_environment

_ROUNDS = 6
_TIMED = 3_000  # requests one after another, in each round and for each replica
_SECONDS = 2.0
_USER = 60998
_READY_LIMIT_S = 60.0
_COST = 1.05  # of the medians over the rounds


def wall(bundle: Bundle) -> list[Result]:
    """Start both replicas, send them the same requests in turns, and compare."""
    kinds = {"bare": NONE, "isolated": NAMESPACE if os.geteuid() else OTHER_USER}
    payloads = [closed_loop.request("/predict", json.dumps({"rows": [case["row"]]}).encode()) for case in bundle.golden]
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in kinds}
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, "bundle")
        shutil.copytree(bundle.path, copy)
        files.make_readable(copy)
        for turn in range(_ROUNDS):
            for name in (*kinds,) if turn % 2 else (*reversed(kinds),):
                with _replica(copy, Sandbox(kinds[name], _USER, 1024)) as (server, port, ready_s):
                    found[name].append((ready_s, *_measured(server, port, payloads)))
    return [
        _compared(found, 0, "time to ready", "s", 1.5),
        _compared(found, 1, "p50 of one row", "ms", _COST),
        _compared(found, 2, "p99 of one row", "ms", 1.2),
        _compared(found, 3, "requests per CPU second", "/s", 1 / _COST),
    ]


@contextmanager
def _replica(bundle: Path, sandbox: Sandbox) -> Iterator[tuple[int, int, float]]:
    """Yield a replica's process id, port, and seconds to ready."""
    port, grpc = free_ports(2)
    addresses = {"--fd": f"127.0.0.1:{port}", "--grpc-fd": f"127.0.0.1:{grpc}"}
    serve = [str(interpreter("serving")), "-m", "bentos.worker", str(bundle)]
    digest, python = manifest.digest_of(bundle), str(interpreter("fleet"))
    command = launcher.command(bundle, digest, sandbox, addresses, serve, {}, python=python)
    environment = clean_environment() | {"PYTHONPATH": str(PROJECT), "OPENBLAS_NUM_THREADS": "1"}
    began = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=bundle.parent,
        env=environment,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: processes.pin(processes.SERVER_CORE),  # a start on the load's core would decide the latency
    ) as server:
        try:
            while not answers(port, "/readyz"):
                if server.poll() is not None or time.monotonic() > began + _READY_LIMIT_S:
                    raise RuntimeError(f"a replica in {sandbox} is not ready")
                time.sleep(0.005)
            yield server.pid, port, time.monotonic() - began
        finally:
            server.kill()


def _measured(server: int, port: int, payloads: list[bytes]) -> tuple[float, float, float]:
    """Return p50 and p99 in ms of single requests, and the rate of a saturated core."""
    one = generators.run(generators.HTTP, Job(port, generators.encode(payloads), server, count=_TIMED))
    flood = generators.run(generators.HTTP, Job(port, generators.encode(payloads), server, seconds=_SECONDS))
    return median(one.latencies_ms), quantiles(one.latencies_ms, n=100)[98], flood.per_core


def _compared(found: dict[str, list[tuple[float, ...]]], index: int, what: str, unit: str, limit: float) -> Result:
    bare, isolated = (median(entry[index] for entry in found[name]) for name in ("bare", "isolated"))
    ratio = isolated / bare
    holds = ratio <= limit if limit > 1 else ratio >= limit
    return Result(
        0,
        f"an isolated replica: {what}",
        f"{isolated:.4g} {unit} beside {bare:.4g} {unit} without a sandbox, medians of {_ROUNDS} rounds in turns",
        _ROUNDS * _TIMED,
        0 if holds else 1,
        f"{ratio:.2f}x, {'at most' if limit > 1 else 'at least'} {limit:.2f}x",
        holds,
    )
