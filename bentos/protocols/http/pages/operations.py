"""The operations of the OpenAPI document, under names that are the same for every model."""

from __future__ import annotations

from typing import Any

from bentos.core import Core
from bentos.guards.access import OPEN_PATHS
from bentos.protocols.oip.kinds import wire_of
from contract.schema.schema import Field

PREDICT, OIP, HEALTH = "Predict", "Open Inference Protocol", "Health"
TAGS = (
    {"name": PREDICT, "description": "One prediction per row, rows as JSON objects"},
    {"name": OIP, "description": "The same predictions for clients of version 2 of the protocol"},
    {"name": HEALTH, "description": "Health checks and metrics"},
)
KEY = "ApiKey"
SCHEMES = {KEY: {"type": "http", "scheme": "bearer", "description": "A key of the server's file, if it requires one"}}
Operation = dict[str, Any]
_VERSION = {
    "name": "model_version",
    "in": "path",
    "required": True,
    "description": "The digest of the bundle, as each answer names it",
    "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
}
_REFUSALS = {
    "400": "Malformed request",
    "401": "The server requires an API key",
    "404": "Unknown model or version",
    "408": "The body did not arrive in time",
    "413": "Too many rows, or too long a body",
    "415": "Unsupported content type or encoding",
    "422": "Rows do not fit the model's schema",
    "503": "Overloaded; Retry-After says when to retry",
    "504": "The caller's deadline is exceeded",
}


def paths(core: Core) -> dict[str, dict[str, Operation]]:
    """Return the operations by path and method."""
    model, asks = f"/v2/models/{core.name}", bool(core.access)
    version = f"{model}/versions/{{model_version}}"
    of_version = {"example": core.version} | _VERSION
    example = {"rows": [core.example]}
    tensors = {
        "inputs": [_tensor(field, core.example[field.name]) for field in core.schema.fields if _given(core, field)]
    }
    infer = _prediction("infer", OIP, "Predict", "InferRequest", "InferResponse", "OipError", tensors)
    found = {
        "/predict": {"post": _prediction("predict", PREDICT, "Predict", "PredictRequest", "PredictResponse", "Error", example)},
        f"{model}/infer": {"post": infer},
        f"{version}/infer": {"post": _at_version(infer, of_version)},
        "/v2": {"get": _question("serverMetadata", OIP, "About the server", "ServerMetadata")},
        "/v2/health/live": {"get": _question("serverLive", OIP, "Does the server run?", "Live")},
        "/v2/health/ready": {"get": _question("serverReady", OIP, "Does the server take requests?", "Ready", "Ready")},
        "/v2/repository/index": {"post": _question("repositoryIndex", OIP, "The models here", "RepositoryIndex")},
        "/livez": {"get": _question("livez", HEALTH, "Does the process run?")},
        "/readyz": {"get": _question("readyz", HEALTH, "Are model, HTTP and gRPC ready?")},
        "/metrics": {"get": _question("metrics", HEALTH, "Metrics for Prometheus")},
    }  # fmt: skip
    for suffix, operation in (
        ("", _question("modelMetadata", OIP, "About the model", "ModelMetadata")),
        ("/ready", _question("modelReady", OIP, "Does the model take requests?", "ModelReady", "ModelReady")),
        ("/config", _question("modelConfig", OIP, "The model, as Triton configures one", "ModelConfig")),
    ):
        found[f"{model}{suffix}"] = {"get": operation}
        found[f"{version}{suffix}"] = {"get": _at_version(operation, of_version)}
    for path, operations in found.items():
        for operation in operations.values():
            _guard(operation, path, asks)
    return found


def _given(core: Core, field: Field) -> bool:
    return core.example.get(field.name) is not None


def _tensor(field: Field, value: Any) -> dict[str, Any]:
    """Return the input tensor of one row that holds the value."""
    return {"name": field.name, "datatype": wire_of(field).datatype, "shape": [1], "data": [value]}


def _prediction(
    name: str, tag: str, summary: str, request: str, response: str, error: str, example: dict[str, Any]
) -> Operation:
    refusals = dict(_REFUSALS)
    del refusals["422" if error == "OipError" else "404"]  # the protocol has 400 for it; and /predict names no model
    body = {"schema": reference(request), "example": example}
    return {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "description": "The header X-Request-Timeout-Ms is the caller's deadline in milliseconds",
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {
            "200": _json("The predictions", response),
            **{status: _json(text, error) for status, text in refusals.items()},
        },
    }


def _question(name: str, tag: str, summary: str, response: str = "", unready: str = "") -> Operation:
    """Return an operation without a body; its answer is JSON of the schema `response`, or text if that is empty."""
    plain = {"description": "The answer", "content": {"text/plain": {"schema": {"type": "string"}}}}
    responses = {"200": _json("The answer", response) if response else plain}
    if unready:
        responses["503"] = _json("Not ready", unready)
    elif name == "readyz":
        responses["503"] = plain | {"description": "Not ready"}
    return {"operationId": name, "tags": [tag], "summary": summary, "responses": responses}


def _at_version(operation: Operation, version: dict[str, Any]) -> Operation:
    """Return the same operation for a version that the path names."""
    missing = {"404": _json(_REFUSALS["404"], "OipError")}
    return operation | {
        "operationId": f"{operation['operationId']}OfVersion",
        "summary": f"{operation['summary']} (one version)",
        "parameters": [version],
        "responses": operation["responses"] | missing,
    }


def _guard(operation: Operation, path: str, asks: bool) -> None:
    """Add whether the operation needs a key: never on an open path, always if the server requires one."""
    if path in OPEN_PATHS:
        operation["security"] = []
    else:
        operation["security"] = [{KEY: []}] if asks else [{}, {KEY: []}]
        error = "OipError" if operation["tags"] == [OIP] else "Error"
        operation["responses"] = operation["responses"] | {"401": _json(_REFUSALS["401"], error)}


def _json(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": reference(schema)}}}


def reference(name: str) -> dict[str, str]:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}
