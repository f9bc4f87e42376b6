"""What the Open Inference Protocol says about this model, the same over HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bentos import VERSION, json_body
from bentos.core import Core
from bentos.errors import NotFoundError
from bentos.tensors import DATATYPES, TensorWriter
from contract.predictor import Answer

SERVER_NAME = "bulkhead"
PLATFORM = "onnx_onnxv1"  # the protocol's name for an ONNX model that ONNX Runtime runs
FALLBACKS = "fallbacks"
BINARY_EXTENSION = "binary_tensor_data"


def check_model(core: Core, name: str, version: str) -> None:
    """Raises NotFoundError unless `name` is the model and `version` its digest; an empty version means any."""
    if name != core.name:
        raise NotFoundError(f"there is no such model here; this server has {core.name!r}")
    if version and version != core.version:
        raise NotFoundError(f"there is no such version of {core.name!r} here; this server has {core.version}")


def fallbacks(answers: Sequence[Answer]) -> str | None:
    """What was assumed for these answers, the parameter `fallbacks` of a response: JSON, entries of `field`, `problem` and `rows`.

    None where nothing was.
    """
    rows: dict[tuple[str, str], list[int]] = {}
    for row, answer in enumerate(answers):
        for entry in answer.get(FALLBACKS, ()):
            rows.setdefault((entry["field"], entry["problem"]), []).append(row)
    found = [{"field": field, "problem": problem, "rows": which} for (field, problem), which in rows.items()]
    return json_body.encode(found).decode() if found else None


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
