"""One replica beside its peers: latency, requests per core, memory, time to ready. Every answer is checked before anything is timed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measures import percentile
from benchmarks.results import Bar, Figure, figures
from contract.bundle import manifest
from contract.files import tree_bytes
from contract.model.row_program import Row
from contract.schema.schema import FeatureSchema
from harness import PROJECT, interpreter, processes, servers
from harness.bundles import Bundle
from harness.load import closed_loop, generators, raw_tensors
from harness.load.generators import Job, Outcome
from harness.load.wires import connect
from harness.servers import (
    BENTOML_API,
    GRPC_HELLO,
    HELLO,
    INPLACE_PREDICT,
    NAIVE,
    OURS,
    PREDICT_PROBA,
    Server,
    running,
)
from pipelines.columns.golden import golden_rows

ROUNDS = 3
LATENCY_REQUESTS = 1000
SATURATED_S = 2.0
TOLERANCE = 1e-6  # XGBoost's own arithmetic against ONNX Runtime's, in probability
_MEGABYTE = 1e6
RATE = "requests/s per core"
_ROWS = "rows/s per core"
MODEL_ALONE = "the model alone, in process"
BATCH = 64  # rows in a request of many
BATCHES = 128


class WrongAnswerError(Exception):
    """A server's answer is not the golden one, so its speed is meaningless."""


@dataclass(frozen=True)
class Target:
    """A server, the way to ask it, and the generator."""

    server: Server
    port: int
    requests: tuple[str, ...]
    program: str

    def measure(self, *, count: int = 0, seconds: float = 0.0) -> Outcome:
        """Run the generator: `count` requests one by one, or `seconds` of saturation."""
        job = Job(port=self.port, requests=self.requests, server=self.server.pid, count=count, seconds=seconds)
        return generators.run(self.program, job)


@dataclass(frozen=True)
class Speed:
    """Medians over the rounds."""

    p50_ms: float
    p99_ms: float
    per_core: float


def over_http(bundle: Bundle) -> list[Figure]:
    """Measure one row over HTTP: ours, both FastAPI servers, BentoML's own API, and the bare hello."""
    names = (OURS, INPLACE_PREDICT, PREDICT_PROBA, BENTOML_API, HELLO)
    with running(bundle, names) as started:
        speeds = measure({name: http_target(bundle, started[name]) for name in names})
    ours, lean, usual, plain, limit = (speeds[name] for name in names)
    return figures(
        "http",
        ("http_p50", ours.p50_ms, "ms", INPLACE_PREDICT, lean.p50_ms, Bar("≤", 0.2, of="value")),
        ("http_p99", ours.p99_ms, "ms", INPLACE_PREDICT, lean.p99_ms, None),
        ("http_per_core", ours.per_core, RATE, INPLACE_PREDICT, lean.per_core, Bar("≥", 4)),
        ("http_per_core_over_predict_proba", ours.per_core, RATE, PREDICT_PROBA, usual.per_core, None),
        ("http_per_core_over_bentoml_api", ours.per_core, RATE, BENTOML_API, plain.per_core, Bar("≥", 8)),
        ("http_per_core_of_limit", ours.per_core, RATE, HELLO, limit.per_core, Bar("≥", 0.5)),
        ("http_per_core_of_model", ours.per_core, RATE, MODEL_ALONE, model_alone(bundle)["one"], None),
    )


def batch(bundle: Bundle) -> list[Figure]:
    """Measure rows per CPU second of a replica at 64 rows a request, beside one row a request, and the model alone."""
    rows = [_rows(bundle)[first : first + BATCH] for first in range(0, BATCH * BATCHES, BATCH)]
    bodies = [json.dumps({"rows": many}).encode() for many in rows]
    binary = [raw_tensors.http_request(bundle.name, bundle.kinds, many) for many in rows]
    with running(bundle, (OURS,)) as started:
        ours = started[OURS]
        cases = _answered(ours, rows, bodies, binary)
        requests = generators.encode([closed_loop.request("/predict", body) for body in bodies])
        speeds = measure(
            {
                "one": http_target(bundle, ours),
                "many": Target(ours, ours.port, requests, generators.HTTP),
                "tensors": Target(ours, ours.port, generators.encode(binary), generators.HTTP),
                "one over gRPC": grpc_target(ours, grpc_messages(bundle, ours)),
                "many over gRPC": grpc_target(ours, grpc_messages(bundle, ours, cases)),
            }
        )
    one, many, tensors, grpc_one, grpc_many = (speed.per_core for speed in speeds.values())
    peer, bar, alone, of_model = "one row a request", Bar("≥", 12), model_alone(bundle)["many"], Bar("≥", 0.7)
    return figures(
        "batch",
        ("batch_rows", many * BATCH, _ROWS, peer, one, bar),
        ("batch_rows_grpc", grpc_many * BATCH, _ROWS, peer, grpc_one, bar),
        ("batch_rows_of_model", many * BATCH, _ROWS, MODEL_ALONE, alone, None),
        ("batch_tensors_of_model", tensors * BATCH, _ROWS, MODEL_ALONE, alone, of_model),
        ("batch_grpc_of_model", grpc_many * BATCH, _ROWS, MODEL_ALONE, alone, of_model),
    )


def _answered(
    server: Server, requests: Sequence[Sequence[Row]], bodies: Sequence[bytes], binary: Sequence[bytes]
) -> list[list[dict[str, Any]]]:
    """Return the rows of each request with the answers of `/predict`, which those to binary tensors must equal."""
    answered = []
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    with connect(server.port) as raw:
        for rows, body, tensors in zip(requests, bodies, binary, strict=True):
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            expected = json.loads(connection.getresponse().read())["predictions"]
            plain = [{"probability": answer["probability"], "label": answer["label"]} for answer in expected]
            if raw_tensors.http_predictions(closed_loop.exchange(raw, tensors)) != plain:
                raise WrongAnswerError(f"{server.name} gives binary tensors other answers than the same rows as JSON")
            answered.append([{"row": row, "answer": answer} for row, answer in zip(rows, expected, strict=True)])
    connection.close()
    return answered


def over_grpc(bundle: Bundle) -> list[Figure]:
    """Measure one row over gRPC: beside our own HTTP, the lean FastAPI, and the bare hello of grpc.aio."""
    with running(bundle, (OURS, INPLACE_PREDICT, GRPC_HELLO)) as started:
        messages = grpc_messages(bundle, started[OURS])
        speeds = measure(
            {
                "gRPC": grpc_target(started[OURS], messages),
                "HTTP": http_target(bundle, started[OURS]),
                INPLACE_PREDICT: http_target(bundle, started[INPLACE_PREDICT]),
                GRPC_HELLO: grpc_target(started[GRPC_HELLO], messages),
            }
        )
    ours, http, lean, limit = speeds.values()
    return figures(
        "grpc",
        ("grpc_p50", ours.p50_ms, "ms", INPLACE_PREDICT, lean.p50_ms, None),
        ("grpc_p99", ours.p99_ms, "ms", INPLACE_PREDICT, lean.p99_ms, None),
        ("grpc_p50_of_limit", ours.p50_ms, "ms", GRPC_HELLO, limit.p50_ms, None),
        ("grpc_per_core", ours.per_core, RATE, "our HTTP", http.per_core, Bar("≥", 0.7)),
        ("grpc_per_core_over_fastapi", ours.per_core, RATE, INPLACE_PREDICT, lean.per_core, None),
        ("grpc_per_core_of_limit", ours.per_core, RATE, GRPC_HELLO, limit.per_core, None),
    )


def memory(bundle: Bundle) -> list[Figure]:
    """Measure resident memory of a replica after some hundred requests: worker and supervisor apart, and together."""
    names = (OURS, INPLACE_PREDICT, PREDICT_PROBA)
    with running(bundle, names) as started:
        for name in names:
            http_target(bundle, started[name]).measure(count=LATENCY_REQUESTS)
        worker, supervisor = _memory_of_ours(started[OURS])
        lean, usual = (processes.resident_mb(started[name].pid) for name in names[1:])
    return figures(
        "memory",
        ("replica_memory_worker", worker, "MB", INPLACE_PREDICT, lean, Bar("≤", 100, of="value")),
        ("replica_memory_supervisor", supervisor, "MB", INPLACE_PREDICT, lean, None),
        ("replica_memory", worker + supervisor, "MB", INPLACE_PREDICT, lean, None),
        ("replica_memory_over_predict_proba", worker + supervisor, "MB", PREDICT_PROBA, usual, None),
        ("replica_memory_worker_of_model", worker, "MB", MODEL_ALONE, model_alone(bundle)["resident_mb"], None),
    )


def ready(bundle: Bundle) -> list[Figure]:
    """Measure the time from the start of the process to the first 200 on /readyz, each server alone on its core."""
    times = _ready(bundle, (OURS, INPLACE_PREDICT, PREDICT_PROBA))
    return figures(
        "ready",
        ("time_to_ready", times[OURS], "s", INPLACE_PREDICT, times[INPLACE_PREDICT], Bar("≤", 3.5, of="value")),
        ("time_to_ready_over_predict_proba", times[OURS], "s", PREDICT_PROBA, times[PREDICT_PROBA], None),
    )


def _ready(bundle: Bundle, names: Sequence[str]) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name in names:
            with running(bundle, (name,)) as started:
                times[name].append(started[name].ready_s)
    return {name: median(times[name]) for name in names}


def lean(bundle: Bundle) -> list[Figure]:
    """Measure the costs of a replica beside the bento of the tutorials: on disk, in memory, at the start, and a request."""
    names = (OURS, NAIVE)
    disk = [installed_mb(python) for python in (interpreter("serving"), interpreter("naive"))]
    start = _ready(bundle, names)
    with running(bundle, names) as started:
        ours, naive = measure({name: http_target(bundle, started[name]) for name in names}).values()
        memory = [processes.resident_mb(started[name].pid) for name in names]
    return figures(
        "lean",
        ("lean_environment", disk[0], "MB", NAIVE, disk[1], Bar("≤", 200, of="value")),
        ("lean_memory", memory[0], "MB", NAIVE, memory[1], None),
        ("lean_ready", start[OURS], "s", NAIVE, start[NAIVE], None),
        ("lean_p50", ours.p50_ms, "ms", NAIVE, naive.p50_ms, None),
        ("lean_per_core", ours.per_core, RATE, NAIVE, naive.per_core, None),
    )


def watching(bundle: Bundle) -> list[Figure]:
    """Measure the CPU time that metrics with drift, and the prediction log, add to a request of one row."""
    cost = _in_serving("benchmarks.peers.serving.unobserved", str(bundle.path))
    peer, bar = "the request without", Bar("≤", 3, of="value")
    return figures(
        "watching",
        ("watching_cpu", cost["watched"], "µs", peer, cost["without"], bar),
        ("watching_cpu_with_log", cost["logged"], "µs", peer, cost["without"], bar),
    )


@cache
def _rows(bundle: Bundle) -> list[Row]:
    """Return distinct rows, made like golden requests."""
    schema = FeatureSchema.from_bytes((bundle.path / manifest.ARTIFACT / "schema.json").read_bytes())
    return list(golden_rows(schema, BATCH * BATCHES))


@cache
def model_alone(bundle: Bundle) -> dict[str, float]:
    """Run `benchmarks.peers.serving.model_alone`: the limit for any server of this model."""
    return _in_serving("benchmarks.peers.serving.model_alone", str(bundle.path), str(SATURATED_S), given=_rows(bundle))


def _in_serving(module: str, *arguments: str, given: object = None) -> dict[str, float]:
    """Return the JSON object that a module prints in the serving environment, with `given` as JSON on its standard input."""
    done = subprocess.run(
        [str(interpreter("serving")), "-m", module, *arguments],
        cwd=PROJECT,
        env=servers.clean_environment(),
        input=json.dumps(given).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def measure(targets: Mapping[str, Target]) -> dict[str, Speed]:
    """Return the speed of each target, measured in turn in every round, so that drift of the machine affects all alike."""
    alone: dict[str, list[Outcome]] = {name: [] for name in targets}
    flooded: dict[str, list[Outcome]] = {name: [] for name in targets}
    for _ in range(ROUNDS):
        for name, target in targets.items():
            alone[name].append(target.measure(count=LATENCY_REQUESTS))
        for name, target in targets.items():
            flooded[name].append(target.measure(seconds=SATURATED_S))
    return {name: _speed(alone[name], flooded[name]) for name in targets}


def _speed(alone: Sequence[Outcome], flooded: Sequence[Outcome]) -> Speed:
    return Speed(
        p50_ms=median([percentile(outcome.latencies_ms, 0.5) for outcome in alone]),
        p99_ms=median([percentile(outcome.latencies_ms, 0.99) for outcome in alone]),
        per_core=median([outcome.per_core for outcome in flooded]),
    )


def http_target(bundle: Bundle, server: Server) -> Target:
    """Return the target of one row over HTTP, its answers checked."""
    bodies = [json.dumps({"rows": [case["row"]]}).encode() for case in bundle.golden]
    if server.name != HELLO:
        _check_answers(bundle, server, bodies)
    requests = generators.encode([closed_loop.request("/predict", body) for body in bodies])
    return Target(server, server.port, requests, generators.HTTP)


def _check_answers(bundle: Bundle, server: Server, bodies: Sequence[bytes]) -> None:
    """Check the answers: ours are the golden ones exactly, the peers' to XGBoost's precision.

    Raises:
        WrongAnswerError: an answer differs.
    """
    tolerance = 0.0 if server.name == OURS else TOLERANCE
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    for case, body in zip(bundle.golden, bodies, strict=True):
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        response = json.loads(connection.getresponse().read())
        got, expected = response.get("predictions", [{}])[0], case["answer"]
        difference = abs(got.get("probability", 9.0) - expected["probability"])
        if difference > tolerance or got["label"] != expected["label"]:
            raise WrongAnswerError(f"{server.name} answered {response}; the golden answer is {expected}")
    connection.close()


def grpc_messages(bundle: Bundle, server: Server, requests: Sequence[Sequence[object]] = ()) -> tuple[str, ...]:
    """Return a message for each request, a list of golden cases; without requests, one for each golden case."""
    asked = {"port": server.grpc_port, "model": bundle.name, "kinds": bundle.kinds}
    asked["requests"] = requests or [[case] for case in bundle.golden]
    done = subprocess.run(
        [str(interpreter("client")), "-m", "harness.client.oip_messages"],
        cwd=PROJECT,
        input=json.dumps(asked).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    return tuple(json.loads(done.stdout))


def grpc_target(server: Server, messages: tuple[str, ...]) -> Target:
    """Return the target of messages over gRPC."""
    return Target(server, server.grpc_port, messages, generators.GRPC)


def _memory_of_ours(server: Server) -> tuple[float, float]:
    """Return the memory of the worker, the largest process of the tree, and of the rest, in MB."""
    sizes = sorted(processes.resident_bytes(process) / _MEGABYTE for process in processes.tree(server.pid))
    return sizes[-1], sum(sizes[:-1])


def installed_mb(python: Path) -> float:
    """Return the size of an environment's files, bytecode included, in MB."""
    return tree_bytes(python.parents[1]) / _MEGABYTE
