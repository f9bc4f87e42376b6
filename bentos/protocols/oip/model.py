"""The model in terms of the Open Inference Protocol, the same over HTTP and gRPC: metadata, configuration and index."""

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
# Triton's extensions that this server supports: https://github.com/triton-inference-server/server/tree/main/docs/protocol. Of the
# repository it has only the index, like a Triton that loads no model on demand.
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository")
# Parameters of other extensions; ignoring them would give wrong answers.
UNSUPPORTED = ("shared_memory_region", "classification")
# Datatypes whose names in a model's configuration differ.
_CONFIG_TYPES = {"BYTES": "TYPE_STRING"}


def check_model(core: Core, name: str, version: str) -> None:
    """Raise NotFoundError unless `name` is the model and `version` its digest; an empty version means any."""
    if name != core.name:
        raise NotFoundError(f"unknown model; this server has {core.name!r}")
    if version and version != core.version:
        raise NotFoundError(f"unknown version of {core.name!r}; this server has {core.version}")


def fallbacks(assumed: Assumed) -> str:
    """Return the parameter `fallbacks` of a response as JSON: entries of `field`, `problem` and `rows`."""
    return json_body.encode([{**fallback, "rows": rows} for fallback, rows in assumed]).decode()


def check_parameters(parameters: Container[str]) -> None:
    """Raise RequestError for an unsupported parameter of a request, an input or an output."""
    for name in UNSUPPORTED:
        if name in parameters:
            raise RequestError(f"unsupported parameter {name!r}")


def server_metadata() -> dict[str, Any]:
    """Return name, version and extensions of the server."""
    return {"name": SERVER_NAME, "version": VERSION, "extensions": list(EXTENSIONS)}


def model_metadata(core: Core) -> dict[str, Any]:
    """Return the model's metadata: name, version, platform, inputs and outputs."""
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
    """Return the model's configuration, by Triton's extension; `max_batch_size` 0 means that shapes are those of the metadata."""
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
    """Return the index of Triton's extension `model_repository`, which lists the one model."""
    state = {"state": "READY", "reason": ""} if core.ready else {"state": "UNAVAILABLE", "reason": "not ready"}
    return [{"name": core.name, "version": core.version, **state}]
