"""The protocol over HTTP: health, metadata, inference in JSON."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.oip.clauses import NotOfferedError, clause, expect
from tests.oip.server import Answer, Server
from tests.oip.tensors import DATATYPES, NUMBERS, nested

NOBODY = "oip-conformance-no-such"
_HTTP = ("http",)
# "The following platform names are allowed", in inference_grpc.md, to which inference_rest.md refers.
PLATFORMS = (
    "tensorrt_plan",
    "tensorflow_graphdef",
    "tensorflow_savedmodel",
    "onnx_onnxv1",
    "pytorch_torchscript",
    "mxnet_mxnet",
    "caffe2_netdef",
)


def rest(section: str, says: str) -> Any:
    return clause("REST", section, says, needs=_HTTP)


# ---- health ----


@rest("Server Live", "GET v2/health/live: 200")
def server_live(server: Server) -> None:
    answer = server.rest.get("v2/health/live")
    expect(answer.status == 200, f"answered {answer}")


@rest("Server Live Response JSON Object", 'the answer is {"live": $bool}')
def server_live_object(server: Server) -> None:
    answer = server.rest.get("v2/health/live")
    expect(answer.content and answer.json().get("live") is True, f"answered {answer}")


@rest("Server Ready", "GET v2/health/ready: 200")
def server_ready(server: Server) -> None:
    answer = server.rest.get("v2/health/ready")
    expect(answer.status == 200, f"answered {answer}")


@rest("Server Ready Response JSON Object", 'the answer is {"live": $bool}, or says "ready", which is surely meant')
def server_ready_object(server: Server) -> None:
    answer = server.rest.get("v2/health/ready")
    expect(answer.content and {"live", "ready"} & set(answer.json()), f"answered {answer}")


@rest("Model Ready", "GET v2/models/<name>/ready: 200")
def model_ready(server: Server) -> None:
    answer = server.rest.get(server.path("ready"))
    expect(answer.status == 200, f"answered {answer}")


@rest("Model Ready Response JSON Object", 'the answer is {"name": $string, "ready": $bool}')
def model_ready_object(server: Server) -> None:
    answer = server.rest.get(server.path("ready"))
    expect(answer.content, f"answered {answer}")
    found = answer.json()
    expect((found.get("name"), found.get("ready")) == (server.name, True), f"answered {answer}")


@rest("Model Ready", "GET v2/models/<name>/versions/<version>/ready: 200")
def version_ready(server: Server) -> None:
    answer = server.rest.get(server.path("ready", server.version))
    expect(answer.status == 200, f"answered {answer}")


@rest("Model Ready", "a model that there is not is not ready")
def unknown_model_ready(server: Server) -> None:
    answer = server.rest.get(f"v2/models/{NOBODY}/ready")
    expect(answer.status != 200, f"answered {answer}")


# ---- metadata ----


@rest("Server Metadata Response JSON Object", "GET v2: name, version, extensions")
def server_metadata(server: Server) -> None:
    answer = server.rest.get("v2")
    expect(answer.status == 200, f"answered {answer}")
    found = answer.json()
    expect(all(isinstance(found.get(key), str) for key in ("name", "version")), f"answered {answer}")
    expect(all(isinstance(name, str) for name in found["extensions"]), f"answered {answer}")


@rest("Model Metadata Response JSON Object", "GET v2/models/<name>: name, versions, platform, inputs, outputs")
def model_metadata(server: Server) -> None:
    answer = server.rest.get(server.path())
    expect(answer.status == 200, f"answered {answer}")
    found = answer.json()
    expect((found.get("name"), type(found.get("platform"))) == (server.name, str), f"answered {answer}")
    expect(all(isinstance(version, str) for version in found.get("versions") or []), f"answered {answer}")
    for entry in [*found["inputs"], *found["outputs"]]:
        expect(isinstance(entry["name"], str) and entry["datatype"] in DATATYPES, f"a tensor is {entry}")
        expect(all(type(size) is int and size >= -1 for size in entry["shape"]), f"a tensor is {entry}")


@rest("Platforms", "platform is one of the names that are allowed")
def platform(server: Server) -> None:
    found = server.rest.get(server.path()).json().get("platform")
    expect(found in PLATFORMS, f"platform is {found!r}; allowed are {', '.join(PLATFORMS)}")


@rest("Model Metadata", "GET v2/models/<name>/versions/<version>: the same model")
def version_metadata(server: Server) -> None:
    answer = server.rest.get(server.path(version=server.version))
    expect(answer.status == 200 and answer.json()["name"] == server.name, f"answered {answer}")


@rest("Model Metadata Response JSON Error Object", "a model that there is not: an HTTP error with an error object")
def unknown_model_metadata(server: Server) -> None:
    answer = server.rest.get(f"v2/models/{NOBODY}")
    expect(answer.is_error, f"answered {answer}")


# ---- inference ----


@rest("Inference Response JSON Object", "POST …/infer: 200 with model_name and outputs, as JSON")
def infer(server: Server) -> None:
    answer = server.infer()
    expect(answer.status == 200, f"answered {answer}")
    expect(answer.headers.get("content-type", "").startswith("application/json"), f"the type is {answer.headers}")
    expect(answer.json().get("model_name") == server.name, f"answered {answer}")


@rest(
    "Inference Response JSON Object", "every output has the datatype and the shape of the metadata, and as many values"
)
def outputs_fit_metadata(server: Server) -> None:
    declared = {entry["name"]: entry for entry in server.metadata["outputs"]}
    outputs = server.infer().outputs()
    expect(
        {tensor.name for tensor in outputs} == set(declared), f"{[tensor.name for tensor in outputs]}, not {declared}"
    )
    for tensor in outputs:
        entry = declared[tensor.name]
        fits = len(tensor.shape) == len(entry["shape"]) and all(
            size in (-1, actual) for size, actual in zip(entry["shape"], tensor.shape, strict=True)
        )
        expect(tensor.datatype == entry["datatype"] and fits, f"{tensor}, not {entry}")


@rest("Inference Response JSON Object", "model_version names the version that answered")
def model_version(server: Server) -> None:
    version = server.version
    answer = server.infer()
    expect(answer.json().get("model_version") in server.metadata["versions"], f"version {version}: {answer}")


@rest("Inference", "POST …/versions/<version>/infer: answered by that version")
def infer_version(server: Server) -> None:
    version = server.version
    answer = server.rest.post(server.path("infer", version), server.request(server.inputs))
    expect(answer.status == 200 and answer.json().get("model_version") == version, f"answered {answer}")


@rest("Inference Request JSON Object", "an id is returned as it was given")
def id_is_echoed(server: Server) -> None:
    answer = server.infer(id="42")
    expect(answer.status == 200 and answer.json().get("id") == "42", f"answered {answer}")


@rest("Inference Request JSON Object", "an id is any string: one that is not ASCII, too")
def any_id_is_echoed(server: Server) -> None:
    given = "Ünïcode/…"
    answer = server.infer(id=given)
    expect(answer.status == 200 and answer.json().get("id") == given, f"answered {answer}")


@rest("Inference Request JSON Object", "without outputs, all are returned; with outputs, those that were asked for")
def requested_outputs(server: Server) -> None:
    for entry in server.metadata["outputs"]:
        found = server.infer(outputs=[{"name": entry["name"]}]).outputs()
        expect([tensor.name for tensor in found] == [entry["name"]], f"asked for {entry['name']}, got {found}")


@rest("Parameters", "a request with parameters of its own, as string, number and boolean")
def parameters(server: Server) -> None:
    own = {NOBODY: "text", f"{NOBODY}-number": 1.5, f"{NOBODY}-boolean": True}
    inputs = [tensor.as_json(parameters=own) for tensor in server.inputs]
    answer = server.rest.post(server.path("infer"), {"inputs": inputs, "parameters": own})
    if answer.is_error:
        raise NotOfferedError(f"parameters that it does not know are refused: {answer}")
    expect(same(server, answer), f"the answer changes to {answer}")


@rest("Tensor Data", "nested data mean the same as flattened data")
def nested_data(server: Server) -> None:
    if all(len(tensor.shape) == 1 for tensor in server.inputs):
        wider = [replace(tensor, shape=(*tensor.shape, 1)) for tensor in server.inputs]
        if server.infer(wider).status != 200:
            raise NotOfferedError("the model's inputs have one dimension, and no other shape is taken")
    else:
        wider = server.inputs
    inputs = [tensor.as_json(data=nested(tensor.as_json()["data"], tensor.shape)) for tensor in wider]
    answer = server.rest.post(server.path("infer"), {"inputs": inputs})
    expect(same(server, answer), f"the answer changes to {answer}")


@rest("Inference Request Input", "a batch: two rows in one request, answered in their order")
def batch(server: Server) -> None:
    if not all(entry["shape"] and entry["shape"][0] == -1 for entry in server.metadata["inputs"]):
        raise NotOfferedError("the first dimension of the inputs is fixed")
    twice = [replace(tensor, shape=(2, *tensor.shape[1:]), values=tensor.values * 2) for tensor in server.inputs]
    for one, two in zip(server.infer().outputs(), server.infer(twice).outputs(), strict=True):
        expect(two.values == one.values * 2, f"one row gives {one}, two equal rows {two}")


@rest("Tensor Data Types", "an input of another number type is taken with the same answer, or refused")
def other_numbers(server: Server) -> None:
    numbers = [tensor for tensor in server.inputs if tensor.datatype in NUMBERS]
    if not numbers:
        raise NotOfferedError("no input is a number")
    for datatype in NUMBERS:
        answer = server.infer([tensor.cast(datatype) if tensor in numbers else tensor for tensor in server.inputs])
        expect(answer.is_error or close(server, answer), f"as {datatype}: {answer}")


def same(server: Server, answer: Answer) -> bool:
    """Whether it is the answer to the plain request, bit for bit."""
    return [tensor.bits() for tensor in answer.outputs()] == [tensor.bits() for tensor in server.infer().outputs()]


def close(server: Server, answer: Answer) -> bool:
    """Whether it is the answer to the plain request, but for what a model may round otherwise."""
    pairs = zip(answer.outputs(), server.infer().outputs(), strict=True)
    return all(
        mine == other or abs(mine - other) <= 1e-5 * max(abs(mine), abs(other))
        for found, plain in pairs
        for mine, other in zip(found.values, plain.values, strict=True)
    )
