"""The OpenAPI document, made from the model's own schema, and the page that shows it."""

from __future__ import annotations

import json
from typing import Any

from bentos import VERSION
from bentos.core import Core
from bentos.protocols.http.pages import operations
from bentos.protocols.oip.kinds import wire_of
from contract.model import transforms
from contract.schema import kinds
from contract.schema.schema import Feature, FeatureSchema, Field
from contract.schema.tasks import TASKS

_SHOWN_CATEGORIES = 30
# `tryItOutEnabled` opens each operation for editing, so that one click sends its example; models are collapsed.
SCRIPT = b"""SwaggerUIBundle({
  url: "./docs.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  tryItOutEnabled: true,
  defaultModelsExpandDepth: 0,
});
"""


def page(core: Core) -> bytes:
    """Return the page at `/`: BentoML's copy of Swagger UI, without the tracker of BentoML's own page."""
    import html  # a millisecond of a start, and few servers are asked for the page

    title = html.escape(core.name)
    return f"""<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="UTF-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>{title}: predictions</title>
    <link rel="icon" href="data:,">
    <link rel="stylesheet" type="text/css" href="./static_content/swagger-ui.css">
    <style>
      body {{ margin: 0; background: #fafafa }}
      @media (max-width: 640px) {{
        #swagger-ui .opblock-tag {{ flex-wrap: wrap }}
        #swagger-ui .opblock-tag small {{ flex-basis: 100%; order: 1; padding: 0 }}
      }}
      @media (prefers-color-scheme: dark) {{
        body {{ background: #1b1b1b }}
        #swagger-ui {{ filter: invert(88%) hue-rotate(180deg) }}
        #swagger-ui .microlight {{ filter: invert(100%) hue-rotate(180deg) }}
      }}
    </style>
  </head>
  <body>
    <div id="swagger-ui"></div>
    <script src="./static_content/swagger-ui-bundle.js"></script>
    <script src="./page.js"></script>
  </body>
</html>
""".encode()


def document(core: Core) -> bytes:
    """Return the OpenAPI 3.0 document at `/docs.json`."""
    content = {
        "openapi": "3.0.3",
        "info": {
            "title": core.name,
            "version": VERSION,
            "description": f"Answers come from the model version `{core.version}`. The same predictions are available over the "
            "[Open Inference Protocol](https://github.com/kserve/open-inference-protocol) under `/v2`, and over gRPC.",
        },
        "servers": [{"url": "/"}],
        "tags": list(operations.TAGS),
        "paths": operations.paths(core),
        "components": {"schemas": _schemas(core), "securitySchemes": operations.SCHEMES},
    }
    return json.dumps(content, ensure_ascii=False).encode()


def _schemas(core: Core) -> dict[str, Any]:
    fields = {field.name: field_schema(field, core.schema.features) for field in core.schema.fields}
    fields |= {
        field.name: {"deprecated": True, "description": "accepted and ignored"} for field in core.schema.deprecated
    }
    problem = _object({"row": _integer(nullable=True), "field": _string(nullable=True), "problem": _string()})
    rows = {"type": "array", "maxItems": core.limits.max_rows, "items": operations.reference("Row")}
    error = _object({"code": _string(), "message": _string(), "details": {"type": "array", "items": problem}})
    return {
        "Row": _object(fields, optional=tuple(field.name for field in core.schema.accepted if not field.required)),
        "PredictRequest": _object({"rows": rows}),
        "PredictResponse": _object(
            {
                "model": _object({"name": _string(), "version": _string()}),
                "predictions": {"type": "array", "items": operations.reference("Prediction")},
            }
        ),
        "Prediction": answer_schema(core.schema),
        "Error": _object({"error": error}),
        **_protocol_schemas(),
    }


def _protocol_schemas() -> dict[str, Any]:
    """Return the schemas of the Open Inference Protocol and its extensions."""
    shape, text, yes = _list(_integer()), _string(), {"type": "boolean"}
    head = {"name": text, "datatype": text, "shape": shape}
    parameters = {"type": "object", "nullable": True}
    tensor = _object(head | {"parameters": parameters, "data": _list({})}, optional=("parameters", "data"))
    output = _object({"name": text, "parameters": parameters}, optional=("parameters",))
    request = {"inputs": _list(operations.reference("Tensor")), "outputs": _list(output) | {"nullable": True}}
    described = _list(_object(head))
    configured = _list(
        _object({"name": text, "data_type": text, "dims": shape, "optional": yes}, optional=("optional",))
    )
    model = {"name": text, "platform": text}
    return {
        "Tensor": tensor,
        "InferRequest": _object(
            {"id": _string(nullable=True), "parameters": parameters, **request},
            optional=("id", "parameters", "outputs"),
        ),
        "InferResponse": _object(
            {
                "model_name": text,
                "model_version": text,
                "id": text,
                "outputs": _list(operations.reference("Tensor")),
                "parameters": _object({"fallbacks": text}),
            },
            optional=("id", "parameters"),
        ),
        "OipError": _object({"error": text}),
        "ServerMetadata": _object({"name": text, "version": text, "extensions": _list(text)}),
        "Live": _object({"live": yes}),
        "Ready": _object({"ready": yes}),
        "ModelReady": _object({"name": text, "ready": yes}),
        "ModelMetadata": _object({**model, "versions": _list(text), "inputs": described, "outputs": described}),
        "ModelConfig": _object(
            {**model, "backend": text, "max_batch_size": _integer(), "input": configured, "output": configured}
        ),
        "RepositoryIndex": _list(_object({"name": text, "version": text, "state": text, "reason": text})),
    }


def answer_schema(schema: FeatureSchema) -> dict[str, Any]:
    """Return the JSON schema of the answer to one row."""
    chance = {"type": "number", "minimum": 0, "maximum": 1}
    label = {"type": "string", "enum": list(schema.target.labels)}
    task = TASKS[schema.task]
    if task.has_positive:
        answer = {"probability": chance, "label": label}
    elif task.has_many_labels:
        answer = {"probabilities": _object(dict.fromkeys(schema.target.labels, chance)), "label": label}
    else:
        parts = [schema.objective.statistic, f"unit: {schema.target.unit}" if schema.target.unit else None]
        number = {"type": "number", "description": "; ".join(part for part in parts if part)}
        answer = {"value": number}
        if task.has_quantiles:
            unit = {"description": parts[1]} if parts[1] else {}
            levels = {level: {"type": "number"} | unit for level in schema.target.scored}
            answer = {"quantiles": _object(levels) | {"description": "by level, ascending"}}
    fallback = _object({"field": _string(), "problem": _string()})
    return _object(answer | {"fallbacks": {"type": "array", "items": fallback}}, optional=("fallbacks",))


def field_schema(field: Field, features: tuple[Feature, ...]) -> dict[str, Any]:
    """Return the JSON schema of one field of a row."""
    # One form, from which clients are generated; the server also reads values as the table has them (docs/reference/http.md).
    schema = dict(wire_of(field).json)
    if kinds.is_bounded(field) and schema["type"] == "number":
        # Without a bound of its own, a number has those of float32.
        schema["minimum"], schema["maximum"] = kinds.bounds(field.minimum, field.maximum)
    if not field.required:
        schema["nullable"] = True
    parts = [
        field.description,
        f"unit: {field.unit}" if field.unit else None,
        _known(field, features),
        *_written(field),
    ]
    if description := "; ".join(part for part in parts if part):
        schema["description"] = description
    return schema


def _written(field: Field) -> list[str]:
    """Return notes on the table's form of the field: missing values, columns and format."""
    notes = [f"missing: {', '.join(field.missing)}"] if field.missing else []
    if field.source and field.source != (field.name,):
        notes.append(f"may be sent as {' and '.join(field.source)} instead, as in the table")
    return [*notes, f"format: {field.format}"] if field.format else notes


def _known(field: Field, features: tuple[Feature, ...]) -> str | None:
    for feature in features:
        categories = transforms.codes(feature)
        if categories is not None and feature.inputs == (field.name,):
            more = f" and {len(categories) - _SHOWN_CATEGORIES} more" if len(categories) > _SHOWN_CATEGORIES else ""
            return f"known: {', '.join(categories[:_SHOWN_CATEGORIES])}{more}; any other counts as unknown"
    return None


def _object(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if required := [name for name in properties if name not in optional]:
        schema["required"] = required
    return schema


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _string(*, nullable: bool = False) -> dict[str, Any]:
    return {"type": "string"} | ({"nullable": True} if nullable else {})


def _integer(*, nullable: bool = False) -> dict[str, Any]:
    return {"type": "integer"} | ({"nullable": True} if nullable else {})
