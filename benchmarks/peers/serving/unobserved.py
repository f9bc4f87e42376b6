"""A replica's request with and without its observation, in one process: CPU time in µs a request of one row.

python -m benchmarks.peers.serving.unobserved BUNDLE      (in the serving environment; prints one JSON object)
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

from bentos.core import Core
from bentos.monitoring.observations import BATCH_ROWS
from bentos.monitoring.tracing import REQUEST_ID
from bentos.protocols.http.app import HttpApp
from bentos.protocols.http.exchange import Request

_ROUNDS = 30


class Unobserved:
    """Observations that count nothing."""

    def add(self, *_: Any) -> None:
        """Ignore a request."""


async def requests_us(app: HttpApp, body: bytes) -> float:
    """Return µs of a request, over as many as are counted together, so that each round pays for one count."""
    started = thread_time()
    for _ in range(BATCH_ROWS):
        headers = {b"content-type": b"application/json", REQUEST_ID: b"7e1a1a9c-1fd4-4a40-9d0c-38e2a3f1c5d2"}
        request = Request("POST", "/predict", headers, perf_counter())
        app.begin(request)
        request.body = body
        app.predict(request)
    await asyncio.sleep(0)
    return (thread_time() - started) / BATCH_ROWS * 1e6


async def measure(bundle: Path) -> dict[str, float]:
    """Return medians of paired rounds: µs without observation, and the µs that metrics and the log each add."""
    core = Core.load(bundle)
    app, body = HttpApp(core), json.dumps({"rows": [core.example]}).encode()
    watched: Any = core.observations
    unwatched: Any = Unobserved()
    rounds: dict[str, list[float]] = {"without": [], "watched": [], "logged": []}
    core.begin({})
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(_ROUNDS):
            core.observations = unwatched
            without = await requests_us(app, body)
            core.observations = watched
            rounds["without"].append(without)
            rounds["watched"].append(await requests_us(app, body) - without)
            core.begin({"BULKHEAD_PREDICTION_LOG": directory})
            rounds["logged"].append(await requests_us(app, body) - without)
            core.end()
    return {name: sorted(found)[len(found) // 2] for name, found in rounds.items()}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(Path(sys.argv[1]).resolve()))))
