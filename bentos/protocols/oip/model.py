"""What the Open Inference Protocol says about this model, the same over HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from bentos import VERSION
from bentos.core import Core
from bentos.errors import NotFoundError
from bentos.protocols import json_body
from bentos.protocols.oip.kinds import wire_of
from bentos.protocols.oip.tensors import TensorWriter
from contract.errors import RequestError
from contract.model.columns.program import Assumed

SERVER_NAME = "bulkhead"
PLATFORM = "onnx_onnxv1"  # the protocol's name for an ONNX model that ONNX Runtime runs
FALLBACKS = "fallbacks"
# The extensions of Triton that this server has: https://github.com/triton-inference-server/server/tree/main/docs/protocol. Of the
# repository there is the index alone, as with a Triton that loads no model on demand.
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository")
UNSUPPORTED = ("shared_memory_region", "classification")  # parameters of other extensions, which ask for other answers
# Of a model's configuration: the names of the datatypes that differ.
_CONFIG_TYPES = {"BYTES": "TYPE_STRING"}


def check_model(core: Core, name: str, version: str) -> None:
    """Raises NotFoundError unless `name` is the model and `version` its digest; an empty version means any."""
    if name != core.name:
        raise NotFoundError(f"there is no such model here; this server has {core.name!r}")
    if version and version != core.version:
        raise NotFoundError(f"there is no such version of {core.name!r} here; this server has {core.version}")


def fallbacks(assumed: Assumed) -> str:
    """The parameter `fallbacks` of a response, what was assumed: JSON, entries of `field`, `problem` and `rows`."""
    return json_body.encode([{**fallback, "rows": rows} for fallback, rows in assumed]).decode()


def check_parameters(parameters: Container[str]) -> None:
    """Raises RequestError for a parameter that asks for what this server does not do; of a request, an input or an output."""
    for name in UNSUPPORTED:
        if name in parameters:
            raise RequestError(f"the parameter {name!r} is not supported")


def server_metadata() -> dict[str, Any]:
    return {"name": SERVER_NAME, "version": VERSION, "extensions": list(EXTENSIONS)}


def model_metadata(core: Core) -> dict[str, Any]:
    return {
        "name": core.name,
        "versions": [core.version],
        "platform": PLATFORM,
        "inputs": [
            {"name": field.name, "datatype": wire_of(field).datatype, "shape": [-1]} for field in core.schema.fields
        ],
        "outputs": TensorWriter(core.schema).metadata(),
    }


def model_config(core: Core) -> dict[str, Any]:
    """What Triton's extension `model_configuration` says of a model; `max_batch_size` 0 means that shapes are as the metadata have them."""
    metadata = model_metadata(core)
    optional = {field.name for field in core.schema.fields if not field.required}
    inputs = [
        _config(tensor) | ({"optional": True} if tensor["name"] in optional else {}) for tensor in metadata["inputs"]
    ]
    return {
        "name": core.name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "max_batch_size": 0,
        "input": inputs,
        "output": [_config(tensor) for tensor in metadata["outputs"]],
    }


def _config(tensor: dict[str, Any]) -> dict[str, Any]:
    datatype = tensor["datatype"]
    return {
        "name": tensor["name"],
        "data_type": _CONFIG_TYPES.get(datatype, f"TYPE_{datatype}"),
        "dims": tensor["shape"],
    }


def repository_index(core: Core) -> list[dict[str, str]]:
    """The one model, as the index of Triton's extension `model_repository` lists it."""
    state = {"state": "READY", "reason": ""} if core.ready else {"state": "UNAVAILABLE", "reason": "not ready"}
    return [{"name": core.name, "version": core.version, **state}]
