"""One replica and four replicas at once, as a fleet starts them, beside as many plain `bentoml serve`: time to ready, and CPU time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median

from benchmarks.results import Bar, Figure, figure
from contract.bundle import manifest
from fleet.isolation import files, sandbox
from fleet.isolation.sandbox import NAMESPACE, NONE, OTHER_USER, Sandbox
from fleet.supervisor import launcher
from harness import PROJECT, interpreter, processes, servers
from harness.bundles import Bundle
from harness.ports import free_ports

NAME = "starts"
_ROUNDS = 3
_AT_ONCE = 4
_USER = 60998
_MEMORY_MB = 1024
_LIMIT_S = 120.0
_POLL_S = 0.005
_PLAIN = servers.BENTOML_API
Command = tuple[list[str], dict[str, str]]  # with its environment
Maker = Callable[[int], Command]  # of a port


def starts(bundle: Bundle) -> list[Figure]:
    """Start each so many at once in turns, on all cores; the bundle was verified before, as a fleet has done it."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as scratch:
        copy = Path(scratch, "bundle")
        shutil.copytree(bundle.path, copy)
        files.make_readable(copy)
        makers: dict[str, Maker] = {"replica": _replica(copy), _PLAIN: _plain(bundle, Path(scratch))}
        found: dict[tuple[str, int], list[tuple[float, float]]] = {}
        for count in (1, _AT_ONCE):
            for _ in range(_ROUNDS):
                for name, maker in makers.items():
                    found.setdefault((name, count), []).append(_started(maker, count, Path(scratch)))
    return [
        _figure(what, count, found, index, unit)
        for count in (1, _AT_ONCE)
        for index, what, unit in ((0, "ready", "s"), (1, "cpu", "CPU s"))
    ]


def _figure(
    what: str, count: int, found: dict[tuple[str, int], list[tuple[float, float]]], index: int, unit: str
) -> Figure:
    ours, theirs = (median([each[index] for each in found[name, count]]) for name in ("replica", _PLAIN))
    peer = f"{count} × {_PLAIN}"
    bar = Bar("≤", 0.6) if what == "ready" else None
    return figure(f"starts_{what}_{count}", ours, unit, peer=peer, peer_value=theirs, bar=bar, benchmark=NAME)


def _replica(bundle: Path) -> Maker:
    """Return the command by which supervisord starts a replica, in the sandbox that this machine can make."""
    wanted = Sandbox(NAMESPACE if os.geteuid() else OTHER_USER, _USER, _MEMORY_MB)
    if lacking := sandbox.missing(wanted):
        print(f"replicas without a sandbox: {lacking}", flush=True)
        wanted = Sandbox(NONE, _USER, _MEMORY_MB)
    digest = manifest.digest_of(bundle)

    def made(port: int) -> Command:
        (grpc,) = free_ports(1)
        addresses = {"--fd": f"127.0.0.1:{port}", "--grpc-fd": f"127.0.0.1:{grpc}"}
        serve = [str(interpreter("serving")), "-m", "bentos.worker", str(bundle)]
        python = str(interpreter("fleet"))
        command = launcher.command(bundle, digest, wanted, addresses, serve, {}, python=python)
        return command, {"PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}

    return made


def _plain(bundle: Bundle, scratch: Path) -> Maker:
    """Return the command of a service written with BentoML's own API, with all defaults."""

    def made(port: int) -> Command:
        settings = {"PEER_MODEL": str(bundle.model), "PEER_VARIANT": "inplace_predict", "BENTOML_DO_NOT_TRACK": "true"}
        command = servers.bentoml_serve("bench", "benchmarks.peers.bench.bentoml_api:Peer", port)
        return command, settings | {"BENTOML_HOME": str(scratch / "home")}

    return made


def _started(maker: Maker, count: int, scratch: Path) -> tuple[float, float]:
    """Return the seconds until all are ready, and the CPU seconds that they took for it."""
    ports = free_ports(count)
    commands = [maker(port) for port in ports]
    with ExitStack() as stack:
        began = time.perf_counter()
        running = [
            stack.enter_context(
                processes.running(
                    command, cwd=PROJECT, env=servers.clean_environment() | settings, log=scratch / f"{port}.log"
                )
            )
            for port, (command, settings) in zip(ports, commands, strict=True)
        ]
        for port, process in zip(ports, running, strict=True):
            _wait(port, process, began, scratch / f"{port}.log")
        ready_s = time.perf_counter() - began
        used = sum(processes.cpu_seconds(process.pid) for process in running)
        # What surrounds a replica passes no signal on, and would be waited for.
        for member in [each for process in running for each in processes.tree(process.pid)]:
            with suppress(ProcessLookupError):  # it ended with its parent
                os.kill(member, signal.SIGKILL)
        return ready_s, used


def _wait(port: int, process: subprocess.Popen[bytes], began: float, log: Path) -> None:
    while not servers.answers(port, "/readyz"):
        if process.poll() is not None or time.perf_counter() - began > _LIMIT_S:
            raise servers.NotReadyError(f"not ready:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(_POLL_S)
