"""One replica beside the model servers of others: MLServer over HTTP and gRPC, LitServe over HTTP."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np

from benchmarks import http_load, load, peer_servers, servers, serving
from benchmarks.bundles import Bundle
from benchmarks.peer_servers import LITSERVE, LITSERVE_PYTHON, MLSERVER, MLSERVER_PYTHON, MODEL
from benchmarks.results import Bar, Figure
from benchmarks.servers import Server
from benchmarks.serving import RATE, TOLERANCE, Target, WrongAnswerError
from bentos import oip_pb2
from contract import manifest
from contract.encoder import Encoder
from contract.schema import FeatureSchema

_PATH = f"/v2/models/{MODEL}/infer"
_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_GRPC = " over gRPC"


def rivals(bundle: Bundle) -> list[Figure]:
    """One row over both protocols; then memory, time to ready and installed size of each."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as directory, ExitStack() as stack:
        scratch = Path(directory)
        ours = stack.enter_context(servers.ours(bundle, scratch))
        mlserver = stack.enter_context(peer_servers.mlserver(bundle, scratch))
        litserve = stack.enter_context(peer_servers.litserve(bundle, scratch))
        speeds = serving.measure(
            {
                "ours": serving.http_target(bundle, ours),
                "ours" + _GRPC: serving.grpc_target(ours, serving.grpc_messages(bundle, ours)),
                MLSERVER: _mlserver_http(bundle, mlserver),
                MLSERVER + _GRPC: _mlserver_grpc(bundle, mlserver),
                LITSERVE: serving.http_target(bundle, litserve),
            }
        )
        memory = {server.name: serving.resident_mb(server) for server in (ours, mlserver, litserve)}
    pythons = {ours.name: servers.SERVING_PYTHON, MLSERVER: MLSERVER_PYTHON, LITSERVE: LITSERVE_PYTHON}
    disk = {name: serving.installed_mb(python) for name, python in pythons.items()}
    http, over_grpc = speeds["ours"], speeds["ours" + _GRPC]
    ml, ml_grpc, lit = speeds[MLSERVER], speeds[MLSERVER + _GRPC], speeds[LITSERVE]
    found = serving.figures(
        "rivals",
        ("http_per_core_over_mlserver", http.per_core, RATE, MLSERVER, ml.per_core, Bar("≥", 5)),
        ("grpc_per_core_over_mlserver", over_grpc.per_core, RATE, MLSERVER + _GRPC, ml_grpc.per_core, Bar("≥", 4)),
        ("http_per_core_over_litserve", http.per_core, RATE, LITSERVE, lit.per_core, None),
        ("http_p50_over_mlserver", http.p50_ms, "ms", MLSERVER, ml.p50_ms, None),
        ("http_p99_over_mlserver", http.p99_ms, "ms", MLSERVER, ml.p99_ms, None),
        ("grpc_p50_over_mlserver", over_grpc.p50_ms, "ms", MLSERVER + _GRPC, ml_grpc.p50_ms, None),
        ("grpc_p99_over_mlserver", over_grpc.p99_ms, "ms", MLSERVER + _GRPC, ml_grpc.p99_ms, None),
        ("http_p50_over_litserve", http.p50_ms, "ms", LITSERVE, lit.p50_ms, None),
        ("http_p99_over_litserve", http.p99_ms, "ms", LITSERVE, lit.p99_ms, None),
    )
    for peer in (mlserver, litserve):
        found += serving.figures(
            "rivals",
            (f"memory_over_{peer.name.lower()}", memory[ours.name], "MB", peer.name, memory[peer.name], None),
            (f"ready_over_{peer.name.lower()}", ours.ready_s, "s", peer.name, peer.ready_s, None),
            (f"environment_over_{peer.name.lower()}", disk[ours.name], "MB", peer.name, disk[peer.name], None),
        )
    return found


def _encoded(bundle: Bundle) -> Any:
    """The golden rows as the float32 matrix that the model takes."""
    schema = FeatureSchema.from_bytes((bundle.path / manifest.ARTIFACT / "schema.json").read_bytes())
    matrix, _ = Encoder(schema).encode_rows([case["row"] for case in bundle.golden])
    return matrix


def _mlserver_http(bundle: Bundle, server: Server) -> Target:
    bodies = [_json(row) for row in _encoded(bundle)]
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    for case, body in zip(bundle.golden, bodies, strict=True):
        connection.request("POST", _PATH, body, {"Content-Type": "application/json"})
        _check(json.loads(connection.getresponse().read())["outputs"][0]["data"][0], case)
    connection.close()
    return Target(server, server.port, load.encode([http_load.request(_PATH, body) for body in bodies]), load.HTTP)


def _json(row: Any) -> bytes:
    data = [None if np.isnan(value) else float(value) for value in row]
    tensor = {"name": "row", "datatype": "FP32", "shape": [1, len(data)], "data": data}
    return json.dumps({"inputs": [tensor]}).encode()


def _mlserver_grpc(bundle: Bundle, server: Server) -> Target:
    messages = [_message(row) for row in _encoded(bundle)]
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.unary_unary(_METHOD)
        for case, message in zip(bundle.golden, messages, strict=True):
            output = oip_pb2.ModelInferResponse.FromString(call(message, timeout=10)).outputs[0]
            _check(output.contents.fp32_contents[0], case)
    return serving.grpc_target(server, load.encode(messages))


def _message(row: Any) -> bytes:
    request = oip_pb2.ModelInferRequest(model_name=MODEL)
    request.inputs.add(name="row", datatype="FP32", shape=[1, len(row)]).contents.fp32_contents.extend(row.tolist())
    content: bytes = request.SerializeToString()
    return content


def _check(probability: float, case: dict[str, Any]) -> None:
    if not abs(probability - case["answer"]["probability"]) <= TOLERANCE:
        raise WrongAnswerError(f"{MLSERVER} answered {probability} where the golden answer is {case['answer']}")
