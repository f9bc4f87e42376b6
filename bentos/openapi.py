"""The description of the HTTP interface: an OpenAPI document made from the model's own schema, and the page that shows it."""

from __future__ import annotations

import html
import json
from typing import Any

from bentos import VERSION
from bentos.core import Core
from contract.schema import Feature, FeatureSchema, Field

_KINDS: dict[str, dict[str, Any]] = {
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "category": {"type": "string"},
    # Not of the format `date-time`, which has an offset.
    "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?$", "example": "2013-12-24T17:30"},
}
_SHOWN_CATEGORIES = 30


def page(core: Core) -> bytes:
    """The page at `/`: BentoML's copy of Swagger UI, without the tracker that BentoML's own page loads."""
    title = html.escape(core.name)
    return f"""<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="UTF-8">
    <title>{title}: predictions</title>
    <link rel="icon" href="data:,">
    <link rel="stylesheet" type="text/css" href="./static_content/swagger-ui.css">
    <style>body {{ margin: 0; background: #fafafa }} .topbar {{ display: none }}</style>
  </head>
  <body>
    <div id="swagger-ui"></div>
    <script src="./static_content/swagger-ui-bundle.js"></script>
    <script src="./static_content/swagger-ui-standalone-preset.js"></script>
    <script src="./static_content/swagger-initializer.js"></script>
  </body>
</html>
""".encode()


def document(core: Core) -> bytes:
    """The OpenAPI 3.0 document at `/docs.json`."""
    content = {
        "openapi": "3.0.3",
        "info": {
            "title": core.name,
            "version": VERSION,
            "description": f"Answers come from the model version `{core.version}`. The same predictions are to be had by the "
            "[Open Inference Protocol](https://github.com/kserve/open-inference-protocol) below `/v2`, and over gRPC.",
        },
        "servers": [{"url": "."}],
        "paths": _paths(core),
        "components": {"schemas": _schemas(core)},
    }
    return json.dumps(content, ensure_ascii=False).encode()


def _paths(core: Core) -> dict[str, Any]:
    model = f"/v2/models/{core.name}"
    version = f"{model}/versions/{core.version}"
    infer = _operation("Predict (Open Inference Protocol)", "Infer", "InferRequest", "InferResponse", "OipError")
    return {
        "/predict": {
            "post": _operation("Predict", "Predict", "PredictRequest", "PredictResponse", "Error", _example(core))
        },
        f"{model}/infer": {"post": infer},
        f"{version}/infer": {"post": infer | {"operationId": "InferVersion"}},
        **{
            path: {"get": {"summary": summary, "responses": {"200": {"description": "Yes, or the answer"}}}}
            for path, summary in (
                ("/v2", "About the server"),
                ("/v2/health/live", "Does the server run?"),
                ("/v2/health/ready", "Does the server take requests?"),
                (model, "About the model"),
                (version, "About this version of the model"),
                (f"{model}/ready", "Does the model take requests?"),
                (f"{version}/ready", "Does this version of the model take requests?"),
                ("/livez", "Does the process run?"),
                ("/readyz", "Are model, HTTP and gRPC ready?"),
                ("/metrics", "Metrics for Prometheus"),
            )
        },
    }


def _operation(
    summary: str, name: str, request: str, response: str, error: str, example: dict[str, Any] | None = None
) -> dict[str, Any]:
    refusals = {
        "400": "The request cannot be understood",
        "401": "The server asks for an API key",
        "408": "The body did not arrive in time",
        "413": "Too many rows, or too long a body",
        "415": "The body is not of a type that is understood",
        "422": "Rows do not fit the model's schema",
        "503": "The server has more to do than it can; Retry-After says when to ask again",
        "504": "There is no answer before the caller's deadline",
    }
    if error == "OipError":
        del refusals["422"]  # the protocol has 400 for it
    body = {"schema": _reference(request)} | ({"example": example} if example else {})
    return {
        "summary": summary,
        "description": "The header X-Request-Timeout-Ms says for how many milliseconds the caller waits",
        "operationId": name,
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {
            "200": {
                "description": "The predictions",
                "content": {"application/json": {"schema": _reference(response)}},
            },
            **{
                status: {"description": text, "content": {"application/json": {"schema": _reference(error)}}}
                for status, text in refusals.items()
            },
        },
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _example(core: Core) -> dict[str, Any]:
    return {"rows": [core.example]}


def _schemas(core: Core) -> dict[str, Any]:
    fields = {field.name: field_schema(field, core.schema.features) for field in core.schema.fields}
    problem = _object({"row": _integer(nullable=True), "field": _string(nullable=True), "problem": _string()})
    rows = {"type": "array", "maxItems": core.limits.max_rows, "items": _reference("Row")}
    error = _object({"code": _string(), "message": _string(), "details": {"type": "array", "items": problem}})
    tensor = _object(
        {
            "name": _string(),
            "datatype": _string(),
            "shape": {"type": "array", "items": _integer()},
            "data": {"type": "array", "items": {}},
        }
    )
    tensors = {"type": "array", "items": tensor}
    outputs = {"type": "array", "items": {"type": "object", "required": ["name"], "properties": {"name": _string()}}}
    return {
        "Row": _object(fields, optional=tuple(field.name for field in core.schema.fields if not field.required)),
        "PredictRequest": _object({"rows": rows}),
        "PredictResponse": _object(
            {
                "model": _object({"name": _string(), "version": _string()}),
                "predictions": {"type": "array", "items": answer_schema(core.schema)},
            }
        ),
        "Error": _object({"error": error}),
        "InferRequest": {
            "type": "object",
            "required": ["inputs"],
            "properties": {"id": _string(), "inputs": tensors, "outputs": outputs, "parameters": {"type": "object"}},
        },
        "InferResponse": _object(
            {
                "model_name": _string(),
                "model_version": _string(),
                "id": _string(),
                "outputs": tensors,
                "parameters": _object({"fallbacks": _string()}),
            },
            optional=("id", "parameters"),
        ),
        "OipError": _object({"error": _string()}),
    }


def answer_schema(schema: FeatureSchema) -> dict[str, Any]:
    """The JSON schema of the answer to one row."""
    chance = {"type": "number", "minimum": 0, "maximum": 1}
    label = {"type": "string", "enum": list(schema.target.labels)}
    if schema.task == "binary":
        answer = {"probability": chance, "label": label}
    elif schema.task == "multiclass":
        answer = {"probabilities": _object(dict.fromkeys(schema.target.labels, chance)), "label": label}
    else:
        unit = {"description": f"unit: {schema.target.unit}"} if schema.target.unit else {}
        answer = {"value": {"type": "number"} | unit}
    fallback = _object({"field": _string(), "problem": _string()})
    return _object(answer | {"fallbacks": {"type": "array", "items": fallback}}, optional=("fallbacks",))


def field_schema(field: Field, features: tuple[Feature, ...]) -> dict[str, Any]:
    """The JSON schema of one field of a row."""
    schema = dict(_KINDS[field.kind])
    if field.kind == "number":
        bounds = {"minimum": field.minimum, "maximum": field.maximum}
        schema |= {key: bound for key, bound in bounds.items() if bound is not None}
    if not field.required:
        schema["nullable"] = True
    parts = [field.description, f"unit: {field.unit}" if field.unit else None, _known(field, features)]
    if description := "; ".join(part for part in parts if part):
        schema["description"] = description
    return schema


def _known(field: Field, features: tuple[Feature, ...]) -> str | None:
    for feature in features:
        if feature.transform == "category" and feature.inputs == (field.name,):
            categories = feature.options["categories"]
            more = f" and {len(categories) - _SHOWN_CATEGORIES} more" if len(categories) > _SHOWN_CATEGORIES else ""
            return f"known: {', '.join(categories[:_SHOWN_CATEGORIES])}{more}; any other is taken as unknown"
    return None


def _object(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if required := [name for name in properties if name not in optional]:
        schema["required"] = required
    return schema


def _string(*, nullable: bool = False) -> dict[str, Any]:
    return {"type": "string"} | ({"nullable": True} if nullable else {})


def _integer(*, nullable: bool = False) -> dict[str, Any]:
    return {"type": "integer"} | ({"nullable": True} if nullable else {})
