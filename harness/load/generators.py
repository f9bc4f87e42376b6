"""Load generators: their jobs and outcomes, and how to run one in a process and on a core of its own.

A generator is a program that reads a job from its standard input and prints its outcome; HTTP and GRPC are the two.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness import PROJECT, interpreter, processes

HTTP = "harness.load.closed_loop"
GRPC = "harness.client.grpc_load"
WARM_UP = 200  # requests on each connection before anything is timed
IN_FLIGHT = 16  # concurrent requests of a saturating run: enough to keep one core busy all the time


@dataclass(frozen=True)
class Job:
    """A generator's job.

    Attributes:
        requests: complete requests (for HTTP) or messages (for gRPC), base64; sent in turn.
        server: process id of the server, whose tree's CPU time is read around the timed part.
        count: requests to send one after another, each timed; or
        seconds: time to keep `IN_FLIGHT` requests under way.
    """

    port: int
    requests: tuple[str, ...]
    server: int
    count: int = 0
    seconds: float = 0.0

    @classmethod
    def read(cls) -> Job:
        """Read a job from standard input."""
        return cls(**json.loads(sys.stdin.read()))

    def payloads(self) -> list[bytes]:
        """Return the decoded requests."""
        return decode(self.requests)


@dataclass(frozen=True)
class Outcome:
    """A generator's measurements.

    Attributes:
        latencies_ms: of each request, in a run that times each; empty in a saturating one.
        completed: requests answered with success within the timed part.
        wall_s: length of the timed part.
        cpu_s: CPU time that the server's process tree used in it.
    """

    latencies_ms: list[float]
    completed: int
    wall_s: float
    cpu_s: float

    @property
    def per_core(self) -> float:
        """The server's requests per CPU second: its rate with a core of its own."""
        return self.completed / self.cpu_s


def encode(payloads: Sequence[bytes]) -> tuple[str, ...]:
    """Return payloads as base64, for a job."""
    return tuple(base64.b64encode(payload).decode() for payload in payloads)


def decode(requests: Sequence[str]) -> list[bytes]:
    """Return payloads of a job's base64."""
    return [base64.b64decode(request) for request in requests]


def ask(python: str, program: str, job: Any) -> dict[str, Any]:
    """Run a program with a job on its standard input and return the JSON that it prints."""
    done = subprocess.run(
        [python, "-m", program], cwd=PROJECT, input=json.dumps(asdict(job)).encode(), stdout=subprocess.PIPE, check=True
    )
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def run(program: str, job: Job) -> Outcome:
    """Run a generator in its environment.

    Raises:
        subprocess.CalledProcessError: an answer was no success, or a connection was lost; the program printed which.
    """
    return Outcome(**ask(str(interpreter("client") if program == GRPC else sys.executable), program, job))


def main(one_by_one: Callable[[Job, int], list[float]], saturate: Callable[[Job], Callable[[float], int]]) -> None:
    """Run the program of a generator.

    Args:
        one_by_one: returns latencies in ms of that number of requests, one at a time.
        saturate: connects, warms up, and returns a function from seconds to the number of requests completed in that time.
    """
    processes.pin(processes.LOAD_CORE)
    job = Job.read()
    latencies: list[float] = []
    if job.count:
        one_by_one(job, WARM_UP)
        started, before = time.perf_counter(), processes.cpu_seconds(job.server)
        latencies = one_by_one(job, job.count)
        completed = job.count
    else:
        measure = saturate(job)
        started, before = time.perf_counter(), processes.cpu_seconds(job.server)
        completed = measure(job.seconds)
    used = processes.cpu_seconds(job.server) - before
    outcome: dict[str, Any] = asdict(Outcome(latencies, completed, time.perf_counter() - started, used))
    print(json.dumps(outcome))
