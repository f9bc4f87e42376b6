"""gRPC load with grpcio, as any Python caller uses it: one blocking call at a time, or many concurrent ones on one event loop.

python -m harness.client.grpc_load < job.json      (see harness/load/generators.py)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import cycle
from typing import Any

import grpc

from harness.load import generators
from harness.load.generators import Job

METHOD = "/inference.GRPCInferenceService/ModelInfer"
_CHANNELS = 4
_LIMIT_S = 10


def one_by_one(job: Job, count: int) -> list[float]:
    """Return latencies in ms of `count` blocking calls."""
    latencies = []
    with grpc.insecure_channel(f"127.0.0.1:{job.port}") as channel:
        call = channel.unary_unary(METHOD)
        payloads = cycle(job.payloads())
        for _ in range(count):
            payload = next(payloads)
            started = time.perf_counter()
            call(payload, timeout=_LIMIT_S)
            latencies.append((time.perf_counter() - started) * 1000)
    return latencies


def saturate(job: Job) -> Callable[[float], int]:
    """Connect, warm up, and return a function from seconds to the number of calls completed in that time."""
    loop = asyncio.new_event_loop()
    calls = loop.run_until_complete(_connect(job))
    payloads = job.payloads()
    loop.run_until_complete(_flood(calls, payloads, seconds=0.5))  # the warm-up

    def measure(seconds: float) -> int:
        return loop.run_until_complete(_flood(calls, payloads, seconds))

    return measure


async def _connect(job: Job) -> list[Any]:
    # Channels to one address share a connection unless an option differs.
    channels = [
        grpc.aio.insecure_channel(f"127.0.0.1:{job.port}", options=[("bulkhead.channel", index)])
        for index in range(_CHANNELS)
    ]
    return [channel.unary_unary(METHOD) for channel in channels]


async def _flood(calls: list[Any], payloads: list[bytes], seconds: float) -> int:
    deadline = time.perf_counter() + seconds

    async def caller(number: int) -> int:
        completed = 0
        call = calls[number % len(calls)]
        while time.perf_counter() < deadline:
            await call(payloads[(number + completed) % len(payloads)], timeout=_LIMIT_S)
            completed += 1
        return completed

    return sum(await asyncio.gather(*(caller(number) for number in range(generators.IN_FLIGHT))))


if __name__ == "__main__":
    generators.main(one_by_one, saturate)
