"""Load while something happens: requests over HTTP on kept connections, and over gRPC from a process of its own.

What is asked is a golden request, and an answer that is not the golden one, bit for bit, is a failure.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from harness import PROJECT, interpreter

_CONNECTIONS = 4


@dataclass
class Load:
    """What the clients saw: answers by the version that gave them, and every failure."""

    answers: Counter[str] = field(default_factory=Counter)
    grpc_answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def check(self, *versions: str) -> None:
        """Not one request failed, and each of these versions, and no other, has answered."""
        assert not self.failures, f"{len(self.failures)} failed; the first: {self.failures[:3]}"
        assert set(self.answers) == set(versions)
        assert set(self.grpc_answers) <= set(versions)
        assert min(sum(self.answers.values()), sum(self.grpc_answers.values())) > 20


@contextmanager
def running(http_port: int, grpc_port: int, bundle: Path, pause_s: float = 0.005) -> Iterator[Load]:
    """Ask again and again until the block ends; what was seen is complete then.

    Every connection pauses between two requests, so that a small machine has time for what is being tested.
    """
    load, ended = Load(), threading.Event()
    golden = json.loads((bundle / "src" / "bundle" / "golden.json").read_bytes())[0]
    arguments = (http_port, golden, pause_s, load, ended)
    threads = [threading.Thread(target=_ask, args=arguments) for _ in range(_CONNECTIONS)]
    command = [
        str(interpreter("client")),
        "-m",
        "tests.fleet.crowds.grpc_load",
        f"127.0.0.1:{grpc_port}",
        str(bundle),
        str(pause_s),
    ]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as over_grpc:
        try:
            assert over_grpc.stdout is not None
            assert over_grpc.stdout.readline() == "ready\n"
            for thread in threads:
                thread.start()
            yield load
        finally:
            ended.set()
            reported, _ = over_grpc.communicate(timeout=30)
            for thread in threads:
                if thread.ident:
                    thread.join()
    seen = json.loads(reported)
    load.grpc_answers.update(seen["answers"])
    load.failures += [f"gRPC {failure}" for failure in seen["failures"]]


def ask(port: int, path: str = "/predict", body: str | None = None) -> tuple[int, dict[str, Any]]:
    """One request: status and JSON."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST" if body else "GET", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def _ask(port: int, golden: dict[str, Any], pause_s: float, load: Load, ended: threading.Event) -> None:
    body = json.dumps({"rows": [golden["row"]]})
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    while not ended.is_set():
        try:
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
            answer = json.loads(content) if response.status == 200 else {}
            if answer.get("predictions") == [golden["answer"]]:
                load.answers[answer["model"]["version"]] += 1
            else:
                load.failures.append(f"HTTP {response.status}: {content[:200]!r}")
        except (OSError, HTTPException) as error:
            load.failures.append(f"HTTP {error!r}")
            connection.close()
        ended.wait(pause_s)
    connection.close()
