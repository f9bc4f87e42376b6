"""The OpenAPI document is made from the model's schema."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from bentos import errors
from bentos.protocols.http.pages import openapi
from bentos.protocols.http.pages.openapi import field_schema
from contract.errors import InvalidRowsError, RequestError, TooLargeError, UnsupportedTypeError
from contract.schema.kinds import LARGEST
from contract.schema.schema import Feature, Field
from tests.bentos.caller import Caller
from tests.bentos.conftest import Case


def test_row_has_the_fields_of_the_schema(http: Caller, case: Case) -> None:
    row = http("GET", "/docs.json").json["components"]["schemas"]["Row"]
    assert list(row["properties"]) == [field.name for field in case.schema.fields]
    assert row["required"] == [field.name for field in case.schema.fields if field.required]
    assert row["additionalProperties"] is False


def test_deprecated_field_is_marked_and_may_be_left_out(http: Caller, monkeypatch: Any) -> None:
    core = http.app.core
    monkeypatch.setattr(core, "schema", replace(core.schema, deprecated=(Field("fog", "number", required=False),)))
    row = json.loads(openapi.document(core))["components"]["schemas"]["Row"]
    assert row["properties"]["fog"]["deprecated"] is True
    assert "fog" not in row["required"]


def test_example_is_a_golden_row_that_fits(http: Caller, case: Case) -> None:
    operation = http("GET", "/docs.json").json["paths"]["/predict"]["post"]
    example = operation["requestBody"]["content"]["application/json"]["example"]
    assert example == {"rows": case.rows[:1]}
    assert http.predict(example["rows"]).json["predictions"] == case.answers[:1]


def test_every_reference_leads_somewhere(http: Caller) -> None:
    content = http("GET", "/docs.json").body.decode()
    schemas = json.loads(content)["components"]["schemas"]
    references = set(re.findall(r'"#/components/schemas/(\w+)"', content))
    assert references
    assert references <= schemas.keys()


def test_every_path_exists(http: Caller) -> None:
    version = http.app.core.version
    for path, operations in http("GET", "/docs.json").json["paths"].items():
        for method in operations:
            assert http(method.upper(), path.format(model_version=version)).status not in (404, 405)


def test_operation_needs_a_key_where_the_server_asks_for_one(http: Caller, monkeypatch: Any) -> None:
    for access in (None, "keys"):
        monkeypatch.setattr(http.app.core, "access", access)
        document = json.loads(openapi.document(http.app.core))
        assert document["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"
        for path, operations in document["paths"].items():
            for operation in operations.values():
                open_to_all = path in ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready")
                assert operation["security"] == (
                    [] if open_to_all else [{"ApiKey": []}] if access else [{}, {"ApiKey": []}]
                )
                assert ("401" in operation["responses"]) is not open_to_all


def test_every_way_to_refuse_a_prediction_is_documented(http: Caller) -> None:
    documented = http("GET", "/docs.json").json["paths"]["/predict"]["post"]["responses"].keys()
    for error in (
        RequestError,
        InvalidRowsError,
        TooLargeError,
        UnsupportedTypeError,
        errors.UnauthorizedError,
        errors.BodyTimeoutError,
        errors.OverloadedError,
        errors.DeadlineError,
    ):
        assert str(error.status) in documented


def test_field_says_what_is_allowed() -> None:
    wind = Field("wind", "number", required=False, unit="mph", minimum=0, maximum=150, description="at the origin")
    assert field_schema(wind, ()) == {
        "type": "number",
        "minimum": 0,
        "maximum": 150,
        "nullable": True,
        "description": "at the origin; unit: mph",
    }
    carrier = Field("carrier", "category")
    known: Any = {"categories": [f"C{index}" for index in range(32)]}
    schema = field_schema(carrier, (Feature("carrier", "category", ("carrier",), known),))
    assert schema["description"].startswith("known: C0, C1, ")
    assert schema["description"].endswith("C29 and 2 more; any other counts as unknown")
    assert field_schema(Field("night", "boolean"), ()) == {"type": "boolean"}
    any_number = field_schema(Field("score", "number"), ())
    assert (any_number["minimum"], any_number["maximum"]) == (-LARGEST, LARGEST)


def test_page_escapes_the_name(http: Caller, monkeypatch: Any) -> None:
    monkeypatch.setattr(http.app.core, "name", "<script>")
    assert b"<script>:" not in openapi.page(http.app.core)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (
            Field("at", "timestamp", zone="UTC"),
            {"type": "string", "format": "date-time", "example": "2013-12-24T17:30:00Z"},
        ),
        (Field("at", "timestamp", unit="ms"), {"type": "number", "description": "unit: ms"}),
        (
            Field("at", "timestamp", source=("at",), format="%d/%m/%Y"),
            {"type": "string", "description": "format: %d/%m/%Y"},
        ),
        (
            Field("pdays", "number", required=False, missing=("-1",), source=("PDays",)),
            {
                "type": "number",
                "minimum": -LARGEST,
                "maximum": LARGEST,
                "nullable": True,
                "description": "missing: -1; may be sent as PDays instead, as in the table",
            },
        ),
    ],
)
def test_field_says_how_it_is_written(field: Field, expected: dict[str, Any]) -> None:
    assert field_schema(field, ()) == expected


def test_example_of_the_protocol_gives_the_golden_answer(http: Caller, case: Case) -> None:
    paths = http("GET", "/docs.json").json["paths"]
    path = next(path for path in paths if path.endswith("/infer"))
    example = paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]
    answer = http.post_json(path, example)
    assert answer.status == 200
    (expected,) = case.answers[:1]
    given = {output["name"]: output["data"] for output in answer.json["outputs"]}
    assert {name: value for name, (value,) in given.items() if name in expected} == {
        name: value for name, value in expected.items() if name in given
    }


def test_operations_are_tagged_and_no_name_has_a_digest(http: Caller) -> None:
    document = http("GET", "/docs.json").json
    tags = {tag["name"] for tag in document["tags"]}
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert {tag for operation in operations for tag in operation["tags"]} == tags
    names = [*document["paths"], *(operation["operationId"] for operation in operations)]
    assert len(names) == len(set(names))
    assert not [name for name in names if re.search(r"[0-9a-f]{8}", name)]


def test_page_loads_nothing_but_what_the_server_has(http: Caller) -> None:
    page = http("GET", "/").body.decode()
    loaded = re.findall(r'(?:src|href)="\./([^"]+)"', page)
    assert "page.js" in loaded
    for path in loaded:
        assert http("GET", f"/{path}").status == 200
