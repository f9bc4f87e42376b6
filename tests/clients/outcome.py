"""What a client gets from a real server, in the words of the table."""

from __future__ import annotations

import base64
import json
import re
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bentos.protocols.grpc.status import Status
from tests.clients.registry import Client, run
from tests.clients.relay import relay
from tests.clients.requests import Requests

_VERSION = re.compile(r"\d+(?:\.\d+)+")


@dataclass(frozen=True)
class Server:
    """Where a server listens, as host:port."""

    http: str
    grpc: str


@dataclass(frozen=True)
class Outcome:
    """The cells of a client's row.

    Attributes:
        health: status of the health check; of gRPC's own the answer.
        row: whether both answers were the golden one, to the bit.
        invalid: status of the row that lacks a field, and whether the message that reached the caller names it.
        long: status of the body beyond the limit, and whether the message names the limit.
        connection: whether the client kept it for its next requests; empty where that cannot be seen.
    """

    health: str
    row: str
    invalid: str
    long: str
    connection: str


def version_in(command: list[str | Path]) -> str:
    """Return the version in what a command prints."""
    found = _VERSION.search(run(command))
    assert found, command
    return found.group()


def outcome_of(client: Client, server: Server, requests: Requests, directory: Path) -> Outcome:
    """Run the client's program. Raises: MissingError; AssertionError where the program fails."""
    directory.mkdir(parents=True, exist_ok=True)
    command = client.command(directory)
    protocol = client.protocol.split()[0]
    kind = "HTTP" if client.protocol == "HTTP" else "gRPC"  # /v2's clients make their requests of the same messages
    with relay(server.http if protocol == "HTTP" else server.grpc) as relayed:
        between = client.proxy(relayed.address, directory) if client.proxy else nullcontext(relayed.address)
        with between as address:
            said = run([*command, f"http://{address}" if protocol == "HTTP" else address, *requests.files[kind]])
    answers = [line.partition(" ")[::2] for line in said.splitlines()]
    assert len(answers) == 5, said[-2000:]
    health, *rows, (invalid, problem), (long, reason) = answers
    golden = all(_is_golden(status, body, requests) for status, body in rows)
    return Outcome(
        health="SERVING" if '"SERVING"' in health[1] else _status(health[0]),
        row="the golden answer" if golden else f"{_status(rows[0][0])}, another answer",
        invalid=_refusal(invalid, problem, "field", requests.absent),
        long=_refusal(long, reason, "limit", str(requests.limit_bytes)),
        connection="" if client.probes else "kept" if relayed.connections < len(answers) else "a new one each",
    )


def _refusal(status: str, said: str, thing: str, word: str) -> str:
    named = re.search(rf"\b{re.escape(word)}\b", said)
    return f"{_status(status)}, names the {thing}" if named else f"{_status(status)}, does not name the {thing}"


def _status(said: str) -> str:
    """The number of HTTP, the name of gRPC."""
    return Status(int(said)).name if said.isdigit() and int(said) <= max(Status) else said


def _is_golden(status: str, body: str, requests: Requests) -> bool:
    if status not in ("200", "0", "OK"):
        return False
    found = json.loads(body)
    if "predictions" in found:
        return bool(found["predictions"] == [requests.answer])
    if "outputs" in found:
        found = {output["name"]: _value(output) for output in found["outputs"]}
    return bool(found == requests.answer)


def _value(output: dict[str, Any]) -> Any:
    """The one value of an output tensor of a ModelInferResponse, as JSON."""
    contents = output["contents"]
    (value,) = contents.get("fp64_contents") or contents["bytes_contents"]
    return base64.b64decode(value).decode() if output["datatype"] == "BYTES" else value
