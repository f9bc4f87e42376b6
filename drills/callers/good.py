"""Good callers: golden requests at scheduled times, whether or not the server keeps up, and a check of every answer.

    python -m drills.callers.good BUNDLE PORT --rate R --seconds S [--rows N] [--version DIGEST …] [--grpc]

Asks /predict, or ModelInfer with `--grpc`, R times a second, for N rows. Prints JSON: `asked`, `failed` (no answer, or not the right one),
`outcomes` (by status, or `wrong`; `no connection` where it was refused), `losses` (of each request whose connection broke, when it was sent
at the latest and when that was seen, by `time.perf_counter`), `p50_ms` and `p99_ms` from a request's due time to its answer, `connections`.
Ends with 1 if one failed. Nothing is tried again.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contract.bundle import manifest
from harness import processes
from harness.load import raw_tensors
from harness.load.closed_loop import request
from harness.load.open_loop import OpenLoad, arrivals
from harness.load.wires import GrpcConnection, HttpConnection

ROWS = 16
_RIGHT = "200"
_REFUSED = b"overloaded"
_REFUSED_CONNECTION = "no connection"
_CODE = re.compile(rb'"code": ?"(\w+)"')
_PREFIX_BYTES = 5  # before a message of gRPC
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
    """A connection whose outcome is the status, with the error's code unless the server is overloaded, or `wrong`."""

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
        if status == _RIGHT:
            return status if self._answers.is_right(self._asked, body) else "wrong"
        code = _CODE.search(body)
        return f"{status} {code[1].decode()}" if code and code[1] != _REFUSED else status


class GrpcAnswers:
    """Calls of golden rows as raw tensors, and the check of their answers, which are compared byte by byte once they were right."""

    def __init__(self, bundle: Path, rows: int = ROWS, versions: Sequence[str] = ()) -> None:
        from bentos.protos import oip_pb2

        self._response = oip_pb2.ModelInferResponse
        schema = json.loads((bundle / manifest.ARTIFACT / "schema.json").read_bytes())
        kinds = {field["name"]: field["kind"] for field in schema["fields"]}
        cases = json.loads((bundle / manifest.ARTIFACT / manifest.GOLDEN_FILE_NAME).read_bytes())
        self._versions = frozenset(versions or [manifest.digest_of(bundle)])
        self._predictions: dict[bytes, list[raw_tensors.Prediction]] = {}
        self._known: dict[bytes, bytes] = {}
        for first in range(len(cases)):
            turn = [cases[(first + index) % len(cases)] for index in range(rows)]
            message = oip_pb2.ModelInferRequest(model_name=schema["name"])
            for name, datatype, content in raw_tensors.of_rows(kinds, [case["row"] for case in turn]):
                message.inputs.add(name=name, datatype=datatype, shape=[rows])
                message.raw_input_contents.append(content)
            self._predictions[message.SerializeToString()] = [case["answer"] for case in turn]

    @property
    def requests(self) -> list[bytes]:
        """The distinct messages."""
        return list(self._predictions)

    def is_right(self, asked: bytes, content: bytes) -> bool:
        """Tell whether a message holds the right answers to a call."""
        if content != self._known.get(asked):
            response = self._response.FromString(content)
            raw = {output.name: response.raw_output_contents[index] for index, output in enumerate(response.outputs)}
            found = raw_tensors.predictions(raw["probability"], raw["label"])
            right = [{name: answer[name] for name in ("probability", "label")} for answer in self._predictions[asked]]
            if found != right or response.model_version not in self._versions:
                return False
            self._known[asked] = content
        return True


class CheckedCalls(GrpcConnection):
    """A connection whose outcomes are `200`, `refused`, or `wrong`."""

    def __init__(self, port: int, answers: GrpcAnswers) -> None:
        super().__init__(port)
        self._expected = answers

    def outcome(self, asked: bytes, answer: bytes) -> str:
        """Return the outcome of a call."""
        if not answer:
            return "refused"
        return _RIGHT if self._expected.is_right(asked, answer[_PREFIX_BYTES:]) else "wrong"


def ask(answers: Answers | GrpcAnswers, port: int, rate_per_s: float, seconds: float) -> dict[str, Any]:
    """Send requests at a rate for so many seconds; return counts by outcome and latencies."""

    def connect() -> CheckedConnection | CheckedCalls:
        """Open a connection of the answers' protocol."""
        return CheckedConnection(port, answers) if isinstance(answers, Answers) else CheckedCalls(port, answers)

    load = OpenLoad(connect, answers.requests, _CONNECTIONS)
    times = arrivals(rate_per_s, seconds, seed=1)
    load.run(times)
    latencies = sorted(load.outcomes.get(_RIGHT, [])) or [0.0]
    outcomes = {outcome: len(found) for outcome, found in load.outcomes.items()}
    outcomes |= {_REFUSED_CONNECTION: load.refused} if load.refused else {}
    return {
        "asked": len(times),
        "failed": len(times) - outcomes.get(_RIGHT, 0),
        "outcomes": outcomes,
        "losses": load.losses,
        "p50_ms": latencies[len(latencies) // 2],
        "p99_ms": latencies[int(len(latencies) * 0.99)],
        "connections": load.connections,
    }


def command(
    bundle: Path,
    port: int,
    rate_per_s: float,
    seconds: float,
    *,
    rows: int = ROWS,
    versions: Sequence[str] = (),
    over_grpc: bool = False,
) -> list[str]:
    """Return the command that runs good callers, as the module's own text has it."""
    words = [sys.executable, "-m", "drills.callers.good", str(bundle), str(port), "--rows", str(rows)]
    words += ["--rate", str(rate_per_s), "--seconds", str(seconds), *["--grpc"] * over_grpc]
    return [*words, *(part for version in versions for part in ("--version", version))]


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
    parser.add_argument("--grpc", action="store_true", help="ask over gRPC")
    asked = parser.parse_args(arguments)
    processes.pin(processes.LOAD_CORE)
    answers = (GrpcAnswers if asked.grpc else Answers)(asked.bundle, asked.rows, asked.version)
    found = ask(answers, asked.port, asked.rate, asked.seconds)
    print(json.dumps(found))
    return 1 if found["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
