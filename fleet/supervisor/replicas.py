"""One replica: its program, its sockets, and the checks that it must pass before it gets a request."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path

from contract import api_keys
from contract.bundle import manifest
from contract.environment.slices import LOWEST
from contract.errors import (
    EXIT_CONFIGURATION,
    EXIT_RETRY,
    BulkheadError,
    BundleError,
    ConfigurationError,
    UnavailableError,
)
from contract.prediction_log.settings import SHADOW_VARIABLE
from fleet.configuration.settings import PROJECT, Settings
from fleet.configuration.state import Replica, State, socket_of
from fleet.isolation import files
from fleet.isolation.sandbox import NONE, Sandbox
from fleet.supervisor import launch, launcher, unix_http
from fleet.supervisor.supervision import ProcessState, Program

_ANSWER_LIMIT_S = 5.0
_POLL_S = 0.05
_MOST = 1000
_BY_SIGNAL = 128
_POLITELY = ("nice", "-n", str(LOWEST))  # a shadow's replicas leave the processor to those that answer callers


class PortTakenError(UnavailableError):
    """A replica's port, free when it was planned, was taken by another process before the start."""


def plan(
    digest: str, count: int, first_port: int, state: State, sandbox: Sandbox, *, background: bool = False
) -> list[Replica]:
    """Return new replicas of a bundle, with the lowest free numbers and ports.

    Raises:
        UnavailableError: there are not enough.
    """
    used = {replica.name for replica in state.replicas}
    taken = {replica.admin_port for replica in state.replicas}
    names = (name for name in (f"{digest[:8]}-{number}" for number in range(_MOST)) if name not in used)
    ports = (port for port in range(first_port, min(first_port + _MOST, 65536)) if port not in taken and is_free(port))
    planned = [
        Replica(name, digest, port, str(sandbox), background)
        for name, port in zip(names, islice(ports, count), strict=False)
    ]
    if len(planned) < count:
        raise UnavailableError(f"not enough free ports above {first_port} for {count} replicas")
    return planned


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether nothing listens at the port of an address of this machine; a connection that has just ended there does not count."""
    with socket.socket() as probe:
        # Otherwise a connection in TIME_WAIT makes the port look taken. Source: tcp(7).
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def program(replica: Replica, bundle: Path, serving_python: Path, fleet_python: str, settings: Settings) -> Program:
    """Return the program of a replica: the bundle's server, with only `passed_on` of the fleet's environment.

    It is the worker that `bentoml serve` would start, without its supervisor, which checks a worker only every ten seconds.
    """
    home = settings.root / "replicas" / replica.name
    sandbox = Sandbox.parse(replica.sandbox)
    given = {**settings.passed_on, SHADOW_VARIABLE: str(settings.root / "shadow")}
    sockets = {
        "--fd": socket_of("http", replica.name, settings.root),
        "--grpc-fd": socket_of("grpc", replica.name, settings.root),
    }
    sockets["--admin-fd"] = f"127.0.0.1:{replica.admin_port}"
    environment = {
        "PYTHONPATH": str(PROJECT),  # for the launcher
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",  # otherwise numpy starts a thread per core, which small products do not need
        # The heap in pages of 2 MB, where the kernel has some: 7 of 180 ms of a start, for 1 MB more.
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        **({"BULKHEAD_ADMIN_PORT": str(replica.admin_port)} if settings.admin_port else {}),
        **(given if sandbox.kind == NONE else files.hand_over(given, settings)),
    }
    serve = [str(serving_python), "-m", "bentos.worker", str(bundle)]
    command = launcher.command(bundle, replica.digest, sandbox, sockets, serve, environment, python=fleet_python)
    return Program(
        name=replica.name,
        command=[*(_POLITELY if replica.background else ()), *command],
        directory=home,
        environment=environment,
    )


def refusals(state: State, root: Path) -> list[str]:
    """Return a line for each replica that the launcher last refused to start, with the reason."""
    found = []
    for replica in state.replicas:
        with suppress(FileNotFoundError):  # not refused
            reason = (root / "replicas" / replica.name / launch.REFUSAL).read_text()
            found.append(f"{replica.name} is not started: {' '.join(reason.split())}")
    return found


def wait_until_ready(
    replica: Replica,
    settings: Settings,
    state_of: Callable[[], ProcessState | None],
    end_of: Callable[[], str],
    log: Callable[[], str],
) -> None:
    """Wait until the replica is ready by /readyz and listens for gRPC.

    Raises:
        PortTakenError: another program listens at its port.
        ConfigurationError: a setting is wrong.
        BundleError: its process ended meanwhile for another reason; with the end of its log.
        UnavailableError: it is not ready within the start limit.
    """
    deadline = time.monotonic() + settings.start_limit_s
    first: int | None = None
    while not is_ready(replica, settings.root):
        process = state_of()
        if process and process.pid and first is None:
            first = process.pid
        ended = process is None or process.state in ("BACKOFF", "FATAL", "EXITED", "STOPPED")
        # supervisord restarts a program at once, so an end may show only as another process id.
        if ended or (process and process.pid and process.pid != first):
            raise _ended(replica, end_of(), log())
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"replica {replica.name} was not ready within {settings.start_limit_s:g} s; the end of its log:\n{log()}"
            )
        time.sleep(_POLL_S)


def _ended(replica: Replica, how: str, log: str) -> BulkheadError:
    status = int(how.removeprefix("exit status ")) if how.startswith("exit status ") else 0
    # Of the sandbox's processes, which end so when the server is ended by a signal.
    if status - _BY_SIGNAL in set(signal.Signals):
        how = f"terminated by {signal.Signals(status - _BY_SIGNAL).name}"
    message = f"replica {replica.name} ended while it started ({how}); the end of its log:\n{log}"
    kinds = {f"exit status {EXIT_RETRY}": PortTakenError, f"exit status {EXIT_CONFIGURATION}": ConfigurationError}
    return kinds.get(how, BundleError)(message)


def is_ready(replica: Replica, root: Path) -> bool:
    """Tell whether the replica is ready by /readyz and accepts gRPC connections."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(_ANSWER_LIMIT_S)
        if caller.connect_ex(socket_of("grpc", replica.name, root)):
            return False
    return unix_http.answers(socket_of("http", replica.name, root), "/readyz", limit_s=_ANSWER_LIMIT_S)


def check_golden(replica: Replica, bundle: Path, settings: Settings) -> int:
    """Send every golden request over HTTP, with the API key that is passed on; return their number.

    Raises:
        BundleError: the replica names another bundle, an answer is not the golden one, bit for bit, or it crashed at a request.
        UnavailableError: it did not answer in time.
    """
    headers = {"content-type": "application/json", **api_keys.headers(settings.passed_on)}
    cases = json.loads((bundle / manifest.ARTIFACT / manifest.GOLDEN_FILE_NAME).read_bytes())
    for index, case in enumerate(cases):
        try:
            body = json.dumps({"rows": [case["row"]]}).encode()
            path = socket_of("http", replica.name, settings.root)
            status, content = unix_http.ask(path, "POST", "/predict", body, headers, limit_s=_ANSWER_LIMIT_S)
        except TimeoutError as error:
            raise UnavailableError(
                f"replica {replica.name} did not answer golden request {index} within {_ANSWER_LIMIT_S:g} s"
            ) from error
        except unix_http.FAILURES as error:
            raise BundleError(f"replica {replica.name} crashed at golden request {index}: {error!r}") from error
        if status != 200:
            raise BundleError(f"replica {replica.name} answers golden request {index} with {status}: {content[:500]!r}")
        answer = json.loads(content)
        if answer["model"]["version"] != replica.digest:
            raise BundleError(f"replica {replica.name} serves {answer['model']['version']}, not {replica.digest}")
        # Exact equality: JSON's decimal form of a double restores every bit.
        if answer["predictions"] != [case["answer"]]:
            raise BundleError(
                f"replica {replica.name} answers golden request {index} with other values than the golden answer"
            )
    return len(cases)
