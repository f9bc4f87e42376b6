"""The protocol over gRPC, and whether it agrees with HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from tritonclient.grpc import service_pb2

from tests.oip.clauses import NotOfferedError, clause, expect
from tests.oip.http_checks import NOBODY
from tests.oip.server import SERVICE, Server
from tests.oip.tensors import CONTENTS

_GRPC = ("grpc",)
_CALLERS = {"INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "OUT_OF_RANGE", "FAILED_PRECONDITION"}


def rpc(section: str, says: str) -> Any:
    return clause("gRPC", section, says, needs=_GRPC)


# ---- health and metadata ----


@rpc("Server Live", "ServerLive: live")
def server_live(server: Server) -> None:
    expect(server.rpc.ask("ServerLive").live, "live is false")


@rpc("Server Ready", "ServerReady: ready")
def server_ready(server: Server) -> None:
    expect(server.rpc.ask("ServerReady").ready, "ready is false")


@rpc("Model Ready", "ModelReady without a version: ready")
def model_ready(server: Server) -> None:
    expect(server.rpc.ask("ModelReady", name=server.name).ready, "ready is false")


@rpc("Model Ready", "ModelReady with a version: ready")
def version_ready(server: Server) -> None:
    expect(server.rpc.ask("ModelReady", name=server.name, version=server.version).ready, "ready is false")


@rpc("Model Ready", "ModelReady of a model that there is not: an error, or not ready")
def unknown_model_ready(server: Server) -> None:
    request = service_pb2.ModelReadyRequest(name=NOBODY)
    expect(
        server.rpc.refusal("ModelReady", request) or not server.rpc.ask("ModelReady", name=NOBODY).ready, "it is ready"
    )


@rpc("Server Metadata", "ServerMetadata: name, version, extensions")
def server_metadata(server: Server) -> None:
    found = server.rpc.ask("ServerMetadata")
    expect(found.name and found.version, f"answered {found}")


@rpc("Model Metadata", "ModelMetadata without and with a version: the same model")
def model_metadata(server: Server) -> None:
    found = server.rpc.ask("ModelMetadata", name=server.name)
    expect(found.name == server.name and found.platform, f"answered {found}")
    if found.versions:
        expect(found == server.rpc.ask("ModelMetadata", name=server.name, version=found.versions[-1]), "they differ")


@clause("gRPC", "Model Metadata", "the same name, versions, inputs and outputs as over HTTP", needs=("http", "grpc"))
def metadata_agree(server: Server) -> None:
    found = server.rpc.ask("ModelMetadata", name=server.name)
    expect(list(found.versions) == (server.metadata.get("versions") or []), f"versions are {found.versions}")
    for key in ("inputs", "outputs"):
        mine = [(entry.name, entry.datatype, list(entry.shape)) for entry in getattr(found, key)]
        expect(mine == [(e["name"], e["datatype"], e["shape"]) for e in server.metadata[key]], f"{key} are {mine}")


# ---- inference ----


@rpc("Inference", "ModelInfer with typed contents: model_name, and the outputs of the metadata")
def infer_typed(server: Server) -> None:
    answer = server.rpc.infer(typed(server))
    expect(answer.model_name == server.name, f"the name is {answer.model_name!r}")
    declared = {entry["name"]: entry["datatype"] for entry in server.metadata["outputs"]}
    found = {tensor.name: tensor.datatype for tensor in server.outputs(answer)}
    expect(found == declared, f"outputs are {found}, not {declared}")


@rpc("Inference", "ModelInfer with raw contents: the same answer")
def infer_raw(server: Server) -> None:
    raw = server.outputs(server.rpc.infer(server.message(raw=True)))
    expect(bits(raw) == bits(server.outputs(server.rpc.infer(typed(server)))), f"outputs are {raw}")


@rpc("Inference", "model_version names the version that answered, with and without a version in the request")
def infer_version(server: Server) -> None:
    for version in ("", server.version):
        found = server.rpc.infer(server.message(raw=True, model_version=version)).model_version
        expect(found in ([version] if version else server.metadata["versions"]), f"asked {version!r}, got {found!r}")


@rpc("Inference", "an id is returned as it was given")
def id_is_echoed(server: Server) -> None:
    found = server.rpc.infer(server.message(raw=True, id="42")).id
    expect(found == "42", f"the id is {found!r}")


@rpc("Inference", "without outputs, all are returned; with outputs, those that were asked for")
def requested_outputs(server: Server) -> None:
    for entry in server.metadata["outputs"]:
        found = server.rpc.infer(server.message(raw=True, outputs=[{"name": entry["name"]}]))
        expect([output.name for output in found.outputs] == [entry["name"]], f"for {entry['name']}: {found.outputs}")


@rpc("Parameters", "a request with parameters of its own, as string, integer and boolean")
def parameters(server: Server) -> None:
    own = {NOBODY: {"string_param": "text"}, f"{NOBODY}-integer": {"int64_param": 1}, "b": {"bool_param": True}}
    message = server.message(raw=True)
    for name, value in own.items():
        message.parameters[name].CopyFrom(service_pb2.InferParameter(**value))
    if refusal := server.rpc.refusal("ModelInfer", message):
        raise NotOfferedError(f"parameters that it does not know are refused: {refusal.details()}")


@clause("gRPC", "Inference", "JSON, typed and raw contents give the same answer, bit for bit", needs=("http", "grpc"))
def protocols_agree(server: Server) -> None:
    over_http = server.infer().outputs()
    for answer in (server.rpc.infer(typed(server)), server.rpc.infer(server.message(raw=True))):
        expect(bits(server.outputs(answer)) == bits(over_http), f"HTTP {over_http}, gRPC {server.outputs(answer)}")


def typed(server: Server) -> Any:
    if any(tensor.datatype not in CONTENTS for tensor in server.inputs):
        raise NotOfferedError("FP16 has no typed contents")
    return server.message()


def bits(tensors: Any) -> list[Any]:
    return [tensor.bits() for tensor in tensors]


# ---- what must be refused ----


def spoiled(server: Server, change: Callable[[Any], Any], *, raw: bool = False) -> Any:
    """A request, of which `change` has changed something."""
    message = server.message(raw=raw)
    change(message)
    return message


def typed_and_raw(message: Any) -> None:
    message.inputs[0].contents.int_contents.append(1)


def halve(message: Any) -> None:
    message.raw_input_contents[0] = message.raw_input_contents[0][:-1]


REFUSED: dict[str, tuple[str, Callable[[Server], Any]]] = {
    "a model that there is not": ("Inference", lambda server: server.message(raw=True, model_name=NOBODY)),
    "a version that there is not": ("Inference", lambda server: server.message(raw=True, model_version=NOBODY)),
    "no inputs": ("Inference", lambda server: server.message([])),
    "typed and raw contents in one request": ("Inference", lambda server: spoiled(server, typed_and_raw, raw=True)),
    "fewer raw contents than inputs": (
        "Inference",
        lambda server: spoiled(server, lambda message: message.raw_input_contents.insert(0, b""), raw=True),
    ),
    "raw contents that are too short": ("Inference", lambda server: spoiled(server, halve, raw=True)),
    "fewer typed contents than the shape says": (
        "Tensor Data",
        lambda server: spoiled(server, lambda message: message.inputs[0].ClearField("contents")),
    ),
    "more typed contents than the shape says": (
        "Tensor Data",
        lambda server: spoiled(
            server, lambda message: message.inputs[0].contents.MergeFrom(message.inputs[0].contents)
        ),
    ),
    "a dimension below 0": (
        "Inference",
        lambda server: spoiled(server, lambda message: message.inputs[0].shape.__setitem__(0, -1), raw=True),
    ),
    "a datatype that there is not": (
        "Tensor Data Types",
        lambda server: spoiled(server, lambda message: setattr(message.inputs[0], "datatype", "FP13"), raw=True),
    ),
    "an output that there is not": ("Inference", lambda server: server.message(raw=True, outputs=[{"name": NOBODY}])),
}


def refused(what: str) -> Callable[[Server], None]:
    def ask(server: Server) -> None:
        expect(server.rpc.refusal("ModelInfer", REFUSED[what][1](server)) is not None, "it is answered with OK")

    return ask


for _what, (_section, _) in REFUSED.items():
    rpc(_section, f"{_what}: a status other than OK")(refused(_what))


@clause(
    "statuses", "Status codes and their use in gRPC", "what the caller did wrong has the caller's codes", needs=_GRPC
)
def callers_fault(server: Server) -> None:
    wrong = {}
    for what, (_, make) in REFUSED.items():
        error = server.rpc.refusal("ModelInfer", make(server))
        if error is not None and error.code().name not in _CALLERS:
            wrong[what] = f"{error.code().name}: {error.details()}"
    expect(not wrong, f"{len(wrong)} of {len(REFUSED)}: {wrong}")


@clause("statuses", "Status codes and their use in gRPC", "a model that there is not is NOT_FOUND", needs=_GRPC)
def not_found(server: Server) -> None:
    for method, request in (
        ("ModelMetadata", service_pb2.ModelMetadataRequest(name=NOBODY)),
        ("ModelInfer", server.message(raw=True, model_name=NOBODY)),
    ):
        error = server.rpc.refusal(method, request)
        expect(error is not None and error.code() is grpc.StatusCode.NOT_FOUND, f"{method}: {error and error.code()}")


@clause("statuses", "Status codes and their use in gRPC", "a method that there is not is UNIMPLEMENTED", needs=_GRPC)
def unimplemented(server: Server) -> None:
    error = server.rpc.refusal(f"/{SERVICE}/NoSuchMethod", service_pb2.ServerLiveRequest())
    expect(error is not None and error.code() is grpc.StatusCode.UNIMPLEMENTED, f"{error and error.code()}")
