"""The Open Inference Protocol over HTTP: what is refused, and with which words."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bentos.core import Core
from tests.bentos.caller import Caller
from tests.bentos.conftest import Case
from tests.bentos.http.oip_requests import binary_request, infer, json_tensors, refusal


def test_input_is_named_when_it_does_not_fit(http: Caller, core: Core, case: Case) -> None:
    whole = json_tensors(case, case.rows[:2])
    for index, entry in enumerate(whole):
        others = whole[:index] + whole[index + 1 :]
        wrong = 5 if entry["datatype"] == "BYTES" else "5"
        for spoiled in (
            {**entry, "datatype": "FP16"},
            {**entry, "shape": [2, 2]},
            {**entry, "shape": [3]},
            {**entry, "shape": [-1]},
            {**entry, "data": [wrong, wrong]},
            {**entry, "datatype": "INT8", "data": [1, 300]},
            {**entry, "data": [entry["data"], entry["data"]], "shape": [2, 1]},
        ):
            assert entry["name"] in refusal(infer(http, core, {"inputs": [*others, spoiled]}))
        required = next(field.required for field in case.schema.fields if field.name == entry["name"])
        answer = infer(http, core, {"inputs": others})
        assert (entry["name"] in refusal(answer)) if required else answer.status == 200


def test_nan_in_json_is_refused_and_nan_in_a_required_tensor_too(http: Caller, core: Core, case: Case) -> None:
    field = case.field(kind="number", required=True)
    spoiled = {**case.row, field.name: math.nan}
    assert "NaN" in refusal(infer(http, core, {"inputs": json_tensors(case, [spoiled])}))
    body, length = binary_request(case, [spoiled])
    assert field.name in refusal(infer(http, core, body, **{"inference-header-content-length": str(length)}))


def test_too_many_rows_are_refused_before_they_are_read(http: Caller, core: Core, case: Case) -> None:
    entry = {**json_tensors(case, case.rows[:1])[0], "shape": [core.limits.max_rows + 1]}
    assert infer(http, core, {"inputs": [entry]}).status == 413


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"inputs": NaN}',
        b'{"inputs": ' + b"[" * 300_000,
        {},
        {"inputs": None},
        {"inputs": {}},
        {"inputs": [1]},
        {"inputs": [{}]},
        {"inputs": [{"name": 1, "datatype": "FP64", "shape": [1], "data": [1]}]},
        {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [1]}]},
        {"inputs": [], "outputs": 5},
        {"inputs": [], "outputs": [{"name": 5}]},
        {"inputs": [], "id": 5},
        {"inputs": [], "parameters": []},
    ],
    ids=lambda request: repr(request)[:40],
)
def test_request_is_refused_when_it_cannot_be_understood(http: Caller, core: Core, request_: Any) -> None:
    assert refusal(infer(http, core, request_))


@pytest.mark.parametrize(
    "change",
    [
        {"data": None},
        {"data": 5},
        {"data": {}},
        {"shape": 1},
        {"shape": ["1"]},
        {"shape": [True]},
        {"shape": [1.0]},
        {"parameters": 5},
        {"parameters": {"binary_data_size": "8"}},
        {"parameters": {"binary_data_size": -8}},
        {"parameters": {"binary_data_size": 8}},
        {"parameters": {"binary_data_size": 10**30}},
        {"parameters": {"shared_memory_region": "x"}},
    ],
    ids=repr,
)
def test_tensor_is_refused_when_it_is_malformed(http: Caller, core: Core, case: Case, change: dict[str, Any]) -> None:
    first, *rest = json_tensors(case, case.rows[:1])
    assert infer(http, core, {"inputs": [first, *rest]}).status == 200  # and what is remembered of it changes nothing
    assert refusal(infer(http, core, {"inputs": [{**first, **change}, *rest]}))


@pytest.mark.parametrize("length", ["-1", "x", "", "999999", "1" * 50, "1.0", "²"])
def test_request_is_refused_when_the_length_of_its_json_is_impossible(http: Caller, core: Core, length: str) -> None:
    assert refusal(infer(http, core, b'{"inputs": []}', **{"inference-header-content-length": length}))


def test_request_is_refused_when_bytes_are_left_over(http: Caller, core: Core, case: Case) -> None:
    body, length = binary_request(case, case.rows)
    assert refusal(infer(http, core, body + b"x", **{"inference-header-content-length": str(length)}))
    assert refusal(infer(http, core, body[:-1], **{"inference-header-content-length": str(length)}))


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_body_is_refused_when_its_type_is_not_of_the_protocol(http: Caller, core: Core, content_type: str) -> None:
    assert infer(http, core, {"inputs": []}, **{"content-type": content_type}).status == 415


def test_body_is_refused_when_it_is_compressed_otherwise_or_too_long(http: Caller, core: Core) -> None:
    assert infer(http, core, {}, **{"content-encoding": "br"}).status == 415
    assert infer(http, core, b" " * (core.limits.body_limit_bytes + 1)).status == 413
