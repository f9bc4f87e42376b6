"""Load tools: how many of their requests a server answers."""

from __future__ import annotations

import re
import shutil
import struct
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import json_format

from bentos.protos import oip_pb2
from tests.clients.outcome import Server
from tests.clients.registry import PATH, MissingError, run
from tests.clients.requests import Requests

COUNT = 200


@dataclass(frozen=True)
class Load:
    """A load tool.

    Attributes:
        options: its command, which the file of the body and the URL follow.
        path: where it asks; a gRPC method is asked at the port of gRPC.
    """

    name: str
    protocol: str
    version: list[str | Path]
    options: list[str]
    path: str = "/predict"


_INFER = "/inference.GRPCInferenceService/ModelInfer"
_AB = ["-n", str(COUNT), "-c", "4", "-T", "application/json", "-p"]
_H2LOAD = ["h2load", "-n", str(COUNT), "-c", "4"]
_JSON = ["-H", "Content-Type: application/json", "-d"]
_GRPC = ["-H", "Content-Type: application/grpc", "-H", "TE: trailers", "-d"]
LOADS = [
    Load("ab", "HTTP/1.0", ["ab", "-V"], ["ab", *_AB]),
    Load("ab -k", "HTTP/1.0, keep-alive", ["ab", "-V"], ["ab", "-k", *_AB]),
    Load("h2load --h1", "HTTP/1.1", ["h2load", "--version"], [*_H2LOAD, "--h1", *_JSON]),
    Load("h2load", "HTTP/2 without TLS", ["h2load", "--version"], [*_H2LOAD, *_JSON]),
    Load("h2load, ModelInfer", "gRPC", ["h2load", "--version"], [*_H2LOAD, *_GRPC], _INFER),
]


def answered(load: Load, server: Server, requests: Requests, directory: Path) -> list[str]:
    """Say how many requests got an answer of 2xx, and how many rows the server predicted. Raises: MissingError."""
    if shutil.which(load.options[0], path=PATH) is None:
        raise MissingError(f"{load.options[0]} is not there")
    body, address = requests.files["HTTP"][0], server.http
    if load.protocol == "gRPC":
        body, address = directory / "message", server.grpc
        body.write_bytes(_framed(requests.files["gRPC"][0]))
    before = _predicted(server)
    said = run([*load.options, body, f"http://{address}{load.path}"])
    return [f"{_succeeded(said)} of {COUNT}", f"{_predicted(server) - before}"]


def _predicted(server: Server) -> int:
    """How many rows the server has predicted, by its metrics."""
    with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=10) as answer:
        (rows,) = re.findall(r"^bulkhead_rows_total(?:{.*})? (\S+)$", answer.read().decode(), re.MULTILINE)
    return round(float(rows))


def _framed(request: Path) -> bytes:
    """A ModelInferRequest with the prefix of gRPC: not compressed, and its length."""
    message = json_format.Parse(request.read_text(), oip_pb2.ModelInferRequest()).SerializeToString()
    return struct.pack(">?I", False, len(message)) + message


def _succeeded(said: str) -> int:
    if of_h2load := re.search(r"status codes: (\d+) 2xx", said):
        return int(of_h2load[1])
    counts = dict(re.findall(r"^(Complete|Failed|Non-2xx)\D+(\d+)$", said, re.MULTILINE))
    return int(counts["Complete"]) - int(counts["Failed"]) - int(counts.get("Non-2xx", 0))
