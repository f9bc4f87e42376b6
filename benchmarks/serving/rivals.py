"""One replica beside other model servers: MLServer over HTTP and gRPC, LitServe and Ray Serve over HTTP."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any

import grpc
import numpy as np

from benchmarks.results import Bar, Figure, figures
from benchmarks.serving import replica as serving
from benchmarks.serving.peer_servers import LITSERVE, MLSERVER, MODEL, RAY, STARTERS
from benchmarks.serving.replica import RATE, TOLERANCE, Target, WrongAnswerError
from bentos.protocols.oip.kinds import DATATYPES
from bentos.protos import oip_pb2
from contract.bundle import manifest
from contract.model.encoder import Encoder
from contract.schema.schema import FeatureSchema
from harness import interpreter, processes, servers
from harness.bundles import Bundle
from harness.load import closed_loop, generators
from harness.servers import OURS, Server

_PATH = f"/v2/models/{MODEL}/infer"
_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_GRPC = " over gRPC"
_OIP = " over OIP"
_PYTHONS = {
    OURS: interpreter("serving"),
    MLSERVER: interpreter("mlserver"),
    LITSERVE: interpreter("litserve"),
    RAY: interpreter("ray"),
}


def rivals(bundle: Bundle) -> list[Figure]:
    """Measure one row over both protocols; then memory, time to ready and installed size of each."""
    with servers.running(bundle, list(_PYTHONS), STARTERS) as started:
        ours, mlserver = started[OURS], started[MLSERVER]
        speeds = serving.measure(
            {
                OURS: serving.http_target(bundle, ours),
                OURS + _OIP: _ours_oip(bundle, ours),
                OURS + _GRPC: serving.grpc_target(ours, serving.grpc_messages(bundle, ours)),
                MLSERVER: _mlserver_http(bundle, mlserver),
                MLSERVER + _GRPC: _mlserver_grpc(bundle, mlserver),
                LITSERVE: serving.http_target(bundle, started[LITSERVE]),
                RAY: serving.http_target(bundle, started[RAY]),
            }
        )
        memory = {name: processes.resident_mb(server.pid) for name, server in started.items()}
        ready = {name: server.ready_s for name, server in started.items()}
    disk = {name: serving.installed_mb(python) for name, python in _PYTHONS.items()}
    found = []
    for protocol, ours_name, peer, bar in (
        ("http", OURS, MLSERVER, Bar("≥", 5)),
        ("oip", OURS + _OIP, MLSERVER, Bar("≥", 5)),
        ("grpc", OURS + _GRPC, MLSERVER + _GRPC, Bar("≥", 4)),
        ("http", OURS, LITSERVE, None),
        ("http", OURS, RAY, None),
    ):
        us, them = speeds[ours_name], speeds[peer]
        name = _name(peer.removesuffix(_GRPC))
        found += figures(
            "rivals",
            (f"{protocol}_per_core_over_{name}", us.per_core, RATE, peer, them.per_core, bar),
            (f"{protocol}_p50_over_{name}", us.p50_ms, "ms", peer, them.p50_ms, None),
            (f"{protocol}_p99_over_{name}", us.p99_ms, "ms", peer, them.p99_ms, None),
        )
    for peer in (MLSERVER, LITSERVE, RAY):
        found += figures(
            "rivals",
            (f"memory_over_{_name(peer)}", memory[OURS], "MB", peer, memory[peer], None),
            (f"ready_over_{_name(peer)}", ready[OURS], "s", peer, ready[peer], None),
            (f"environment_over_{_name(peer)}", disk[OURS], "MB", peer, disk[peer], None),
        )
    return found


def _name(peer: str) -> str:
    """Return a peer's part of a figure's name."""
    return peer.lower().replace(" ", "_")


def _encoded(bundle: Bundle) -> Any:
    """Return the golden rows as the float32 matrix of the model."""
    schema = FeatureSchema.from_bytes((bundle.path / manifest.ARTIFACT / "schema.json").read_bytes())
    matrix, _ = Encoder(schema).encode_rows([case["row"] for case in bundle.golden])
    return matrix


def _ours_oip(bundle: Bundle, server: Server) -> Target:
    """Return the target of our Open Inference Protocol over HTTP: a JSON tensor a field, missing fields left out."""
    bodies = [_tensors(bundle, case["row"]) for case in bundle.golden]
    return _oip_target(bundle, server, f"/v2/models/{bundle.name}/infer", bodies)


def _tensors(bundle: Bundle, row: dict[str, Any]) -> bytes:
    inputs = [
        {"name": name, "datatype": DATATYPES[bundle.kinds[name]], "shape": [1], "data": [value]}
        for name, value in row.items()
        if value is not None
    ]
    return json.dumps({"inputs": inputs}).encode()


def _mlserver_http(bundle: Bundle, server: Server) -> Target:
    return _oip_target(bundle, server, _PATH, [_json(row) for row in _encoded(bundle)])


def _oip_target(bundle: Bundle, server: Server, path: str, bodies: list[bytes]) -> Target:
    """Return the target of a body for each golden case, its answers checked."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    for case, body in zip(bundle.golden, bodies, strict=True):
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        _check(json.loads(connection.getresponse().read())["outputs"][0]["data"][0], case)
    connection.close()
    return Target(
        server, server.port, generators.encode([closed_loop.request(path, body) for body in bodies]), generators.HTTP
    )


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
    return serving.grpc_target(server, generators.encode(messages))


def _message(row: Any) -> bytes:
    request = oip_pb2.ModelInferRequest(model_name=MODEL)
    request.inputs.add(name="row", datatype="FP32", shape=[1, len(row)]).contents.fp32_contents.extend(row.tolist())
    content: bytes = request.SerializeToString()
    return content


def _check(probability: float, case: dict[str, Any]) -> None:
    if not abs(probability - case["answer"]["probability"]) <= TOLERANCE:
        raise WrongAnswerError(f"{MLSERVER} answered {probability}; the golden answer is {case['answer']}")
