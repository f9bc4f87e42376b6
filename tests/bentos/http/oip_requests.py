"""Requests of the Open Inference Protocol over HTTP, called without a server, and what their answers hold."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

from bentos.core import Core
from bentos.protocols.oip.kinds import DATATYPES
from tests.bentos.caller import Answer, Caller
from tests.bentos.conftest import Case


def json_tensors(case: Case, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "name": field.name,
            "datatype": DATATYPES[field.kind],
            "shape": [len(rows)],
            "data": [row.get(field.name) for row in rows],
        }
        for field in case.schema.fields
    ]


def fallbacks(answers: list[dict[str, Any]]) -> set[tuple[str, str, int]]:
    return {
        (entry["field"], entry["problem"], row)
        for row, answer in enumerate(answers)
        for entry in answer.get("fallbacks", ())
    }


def infer(http: Caller, core: Core, request: Any, **headers: str) -> Answer:
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return http("POST", f"/v2/models/{core.name}/infer", body, headers)


def refusal(answer: Answer) -> str:
    assert answer.status == 400
    assert set(answer.json) == {"error"}
    text: str = answer.json["error"]
    return text


def outputs(answer: Answer) -> dict[str, list[Any]]:
    assert answer.status == 200, answer.body
    return {output["name"]: output["data"] for output in answer.json["outputs"]}


def binary_request(case: Case, rows: list[dict[str, Any]], **extra: Any) -> tuple[bytes, int]:
    """A request with every tensor binary, and the length of its JSON part."""
    parts, heads = [], []
    for field in case.schema.fields:
        values = [row.get(field.name) for row in rows]
        if field.kind == "number":
            parts.append(struct.pack(f"<{len(rows)}d", *(math.nan if value is None else value for value in values)))
        elif field.kind == "boolean":
            parts.append(bytes(values))
        else:
            texts = [("" if value is None else value).encode() for value in values]
            parts.append(b"".join(struct.pack("<I", len(text)) + text for text in texts))
        heads.append(
            {
                "name": field.name,
                "datatype": DATATYPES[field.kind],
                "shape": [len(rows)],
                "parameters": {"binary_data_size": len(parts[-1])},
            }
        )
    head = json.dumps({"inputs": heads, **extra}).encode()
    return head + b"".join(parts), len(head)
