"""What the Open Inference Protocol says about this model, the same over HTTP and gRPC."""

from __future__ import annotations

from typing import Any

from bentos import VERSION
from bentos.core import Core
from bentos.errors import NotFoundError
from bentos.tensors import DATATYPES, TensorWriter

SERVER_NAME = "bulkhead"
PLATFORM = "onnx_onnxv1"  # the protocol's name for an ONNX model that ONNX Runtime runs
BINARY_EXTENSION = "binary_tensor_data"


def check_model(core: Core, name: str, version: str) -> None:
    """Raises NotFoundError unless `name` is the model and `version` its digest; an empty version means any."""
    if name != core.name:
        raise NotFoundError(f"there is no such model here; this server has {core.name!r}")
    if version and version != core.version:
        raise NotFoundError(f"there is no such version of {core.name!r} here; this server has {core.version}")


def server_metadata() -> dict[str, Any]:
    return {"name": SERVER_NAME, "version": VERSION, "extensions": [BINARY_EXTENSION]}


def model_metadata(core: Core) -> dict[str, Any]:
    return {
        "name": core.name,
        "versions": [core.version],
        "platform": PLATFORM,
        "inputs": [
            {"name": field.name, "datatype": DATATYPES[field.kind], "shape": [-1]} for field in core.schema.fields
        ],
        "outputs": TensorWriter(core.schema).metadata(),
    }
