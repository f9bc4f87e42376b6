"""Good callers: golden requests at scheduled times, whether or not the server keeps up, and a check of every answer.

    python -m drills.callers.good BUNDLE PORT --rate R --seconds S [--rows N] [--version DIGEST …]

Asks /predict, R times a second, for N rows. Prints JSON: `asked`, `failed` (no answer, or not the right one), `outcomes` (by status, or
`wrong`), `p50_ms` and `p99_ms` from a request's due time to its answer. Ends with 1 if one failed. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contract.bundle import manifest
from harness import processes
from harness.load.closed_loop import request
from harness.load.open_loop import OpenLoad, arrivals
from harness.load.wires import HttpConnection

ROWS = 16
_RIGHT = "200"
_CONNECTIONS = 1000  # at most; a request that finds none free waits for one


class Answers:
    """Requests of golden rows, and their right answers; bytes that were right once are not parsed again.

    Args:
        versions: digests of the bundles that may answer; by default of `bundle`.

    Several rows a request: it must cost the server more than this program, which may have one core for all callers.
    """

    def __init__(self, bundle: Path, rows: int = ROWS, versions: Sequence[str] = ()) -> None:
        cases = json.loads((bundle / manifest.ARTIFACT / manifest.GOLDEN_FILE_NAME).read_bytes())
        turns = [[cases[(first + index) % len(cases)] for index in range(rows)] for first in range(len(cases))]
        self._versions = frozenset(versions or [manifest.digest_of(bundle)])
        self._predictions = {
            request("/predict", json.dumps({"rows": [case["row"] for case in turn]}).encode()): [
                case["answer"] for case in turn
            ]
            for turn in turns
        }
        self._known: dict[bytes, bytes] = {}

    @property
    def requests(self) -> list[bytes]:
        """The distinct requests."""
        return list(self._predictions)

    def is_right(self, asked: bytes, body: bytes) -> bool:
        """Tell whether a body holds the right answers to a request."""
        if body != self._known.get(asked):
            answer: dict[str, Any] = json.loads(body)
            if answer["predictions"] != self._predictions[asked] or answer["model"]["version"] not in self._versions:
                return False
            self._known[asked] = body
        return True


class CheckedConnection(HttpConnection):
    """A connection whose outcome is the status, `wrong`, or a rejection without Retry-After."""

    def __init__(self, port: int, answers: Answers) -> None:
        super().__init__(port)
        self._answers = answers
        self._asked = b""

    def send(self, payload: bytes, intended: float) -> None:
        """Send a request that was due at `intended`, and remember it for the check."""
        self._asked = payload
        super().send(payload, intended)

    def outcome(self, head: bytes, body: bytes) -> str:
        """Return the status, or the way in which the answer is wrong."""
        status = super().outcome(head, body)
        if status == "503" and b"\r\nretry-after: " not in head.lower():
            return "503 without Retry-After"
        return status if status != _RIGHT or self._answers.is_right(self._asked, body) else "wrong"


def ask(answers: Answers, port: int, rate_per_s: float, seconds: float) -> dict[str, Any]:
    """Send requests at a rate for so many seconds; return counts by outcome and latencies."""
    load = OpenLoad(lambda: CheckedConnection(port, answers), answers.requests, _CONNECTIONS)
    times = arrivals(rate_per_s, seconds, seed=1)
    load.run(times)
    latencies = sorted(load.outcomes.get(_RIGHT, [])) or [0.0]
    outcomes = {outcome: len(found) for outcome, found in load.outcomes.items()}
    return {
        "asked": len(times),
        "failed": len(times) - outcomes.get(_RIGHT, 0),
        "outcomes": outcomes,
        "p50_ms": latencies[len(latencies) // 2],
        "p99_ms": latencies[int(len(latencies) * 0.99)],
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the callers; return 1 if a request failed."""
    parser = argparse.ArgumentParser(prog="python -m drills.callers.good", description=__doc__.partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument(
        "--version", action="append", default=[], help="the digest of a bundle that may answer (default: of BUNDLE)"
    )
    asked = parser.parse_args(arguments)
    processes.pin(processes.LOAD_CORE)
    found = ask(Answers(asked.bundle, asked.rows, asked.version), asked.port, asked.rate, asked.seconds)
    print(json.dumps(found))
    return 1 if found["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
