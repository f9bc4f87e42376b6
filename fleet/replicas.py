"""One replica: the program that it runs as, its ports, and what it must show before it gets a request."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from contract import api_keys, manifest
from contract.errors import BundleError, UnavailableError
from fleet import launch
from fleet.processes import REPLICA_MARK
from fleet.settings import PROJECT
from fleet.state import Replica, State
from fleet.supervision import ProcessState, Program

_ANSWER_LIMIT_S = 5.0
_POLL_S = 0.05
_SLOTS = 1000


def plan(digest: str, count: int, first_port: int, first_admin_port: int, state: State) -> list[Replica]:
    """New replicas of a bundle, on the lowest ports that nobody has; without admin ports where the first of those is 0.

    Raises:
        UnavailableError: there are not enough.
    """
    taken = {port for entry in state.replicas for port in entry.ports}
    planned: list[Replica] = []
    for slot in range(_SLOTS):
        admin_port = first_admin_port + slot if first_admin_port else 0
        replica = Replica(
            f"{digest[:8]}-{slot}", digest, first_port + 2 * slot, first_port + 2 * slot + 1, admin_port=admin_port
        )
        if max(replica.ports) > 65535 or len(planned) == count:
            break
        if not taken & set(replica.ports) and all(map(is_free, replica.ports)):
            planned.append(replica)
    if len(planned) < count:
        above = f"{first_port} and {first_admin_port}" if first_admin_port else f"{first_port}"
        raise UnavailableError(f"not enough free ports above {above} for {count} replicas")
    return planned


def is_free(port: int) -> bool:
    """Nothing listens there; a connection that has just ended there does not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def program(
    replica: Replica, bundle: Path, serving_python: Path, fleet_python: str, root: Path, passed_on: Mapping[str, str]
) -> Program:
    """`bentoml serve` of a copy of the bundle, from a directory and with an environment that have nothing else but what is `passed_on`."""
    home = root / "replicas" / replica.name
    metrics = home / "metrics"
    metrics.mkdir(parents=True, exist_ok=True)
    for left in metrics.iterdir():
        left.unlink()
    serve = [str(serving_python), "-m", "bentoml", "serve", str(bundle), "--host", "127.0.0.1"]
    return Program(
        name=replica.name,
        command=[
            *(fleet_python, "-m", "fleet.launch", str(bundle), replica.digest),
            *(*serve, "--port", str(replica.http_port)),
        ],
        directory=home,
        environment={
            REPLICA_MARK: replica.name,
            "PYTHONPATH": str(PROJECT),  # for the launcher; it does not pass it on
            "PYTHONDONTWRITEBYTECODE": "1",
            "BULKHEAD_GRPC_PORT": str(replica.grpc_port),
            **({"BULKHEAD_ADMIN_PORT": str(replica.admin_port)} if replica.admin_port else {}),
            "BENTOML_HOME": str(home),
            "BENTOML_DO_NOT_TRACK": "true",
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
            **passed_on,
        },
    )


def refusals(state: State, root: Path) -> list[str]:
    """Why the launcher did not start replicas when it last was to, a line each."""
    found = []
    for replica in state.replicas:
        with suppress(FileNotFoundError):  # it did
            reason = (root / "replicas" / replica.name / launch.REFUSAL).read_text()
            found.append(f"{replica.name} is not started: {' '.join(reason.split())}")
    return found


def wait_until_ready(
    replica: Replica, limit_s: float, state_of: Callable[[], ProcessState | None], log: Callable[[], str]
) -> None:
    """Until the replica says on /readyz that it is ready, and listens for gRPC.

    Raises:
        BundleError: its process ended meanwhile; with the end of its log.
        UnavailableError: it is not ready within `limit_s`.
    """
    deadline = time.monotonic() + limit_s
    first: int | None = None
    while not (is_ready(replica) and not is_free(replica.grpc_port)):
        process = state_of()
        if process and process.pid and first is None:
            first = process.pid
        ended = process is None or process.state in ("BACKOFF", "FATAL", "EXITED", "STOPPED")
        if ended or (process and process.pid and process.pid != first):
            raise BundleError(f"replica {replica.name} ended while it started; the end of its log:\n{log()}")
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"replica {replica.name} was not ready within {limit_s:g} s; the end of its log:\n{log()}"
            )
        time.sleep(_POLL_S)


def is_ready(replica: Replica) -> bool:
    try:
        return _ask(replica, "GET", "/readyz")[0] == 200
    except (OSError, HTTPException):
        return False


def check_golden(replica: Replica, bundle: Path, passed_on: Mapping[str, str]) -> int:
    """Ask every golden request over HTTP, with the API key that is `passed_on`. Returns how many there are.

    Raises:
        BundleError: the replica names another bundle, an answer is not the golden one, bit for bit, or it died of a request.
        UnavailableError: it did not answer in time.
    """
    headers = {"content-type": "application/json", **api_keys.headers(passed_on)}
    cases = json.loads((bundle / manifest.ARTIFACT / manifest.GOLDEN_FILE_NAME).read_bytes())
    for index, case in enumerate(cases):
        try:
            body = json.dumps({"rows": [case["row"]]}).encode()
            status, content = _ask(replica, "POST", "/predict", body, headers)
        except TimeoutError as error:
            raise UnavailableError(
                f"replica {replica.name} did not answer golden request {index} within {_ANSWER_LIMIT_S:g} s"
            ) from error
        except (OSError, HTTPException) as error:
            raise BundleError(f"replica {replica.name} broke down at golden request {index}: {error!r}") from error
        if status != 200:
            raise BundleError(f"replica {replica.name} answers golden request {index} with {status}: {content[:500]!r}")
        answer = json.loads(content)
        if answer["model"]["version"] != replica.digest:
            raise BundleError(f"replica {replica.name} serves {answer['model']['version']}, not {replica.digest}")
        if answer["predictions"] != [case["answer"]]:
            raise BundleError(f"replica {replica.name} does not give the golden answer to golden request {index}")
    return len(cases)


def _ask(
    replica: Replica, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", replica.http_port, timeout=_ANSWER_LIMIT_S)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
