"""`POST /predict` and the front door, called without a server."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from bentos.core import Core
from tests.bentos.caller import Answer, Caller
from tests.bentos.conftest import Case

SECRET = "kilroy-was-here"


def problems(answer: Answer) -> list[tuple[int | None, str | None]]:
    assert set(answer.json) == {"error"}
    assert set(answer.json["error"]) == {"code", "message", "details"}
    return [(detail["row"], detail["field"]) for detail in answer.json["error"]["details"]]


def test_golden_answers_come_back_when_their_rows_are_sent(http: Caller, case: Case) -> None:
    answer = http.predict(case.rows)
    assert answer.status == 200
    assert answer.json == {
        "model": {"name": http.app.core.name, "version": case.version},
        "predictions": case.answers,
    }


def test_answers_are_the_same_when_rows_come_one_by_one(http: Caller, case: Case) -> None:
    assert [http.predict([row]).json["predictions"][0] for row in case.rows] == case.answers


def test_no_row_gives_no_prediction(http: Caller) -> None:
    assert http.predict([]).json["predictions"] == []


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=UTF-8"])
def test_json_is_taken_when_its_type_is_spelled_otherwise(http: Caller, case: Case, content_type: str) -> None:
    assert http.post_json("/predict", {"rows": case.rows[:1]}, content_type).status == 200


def test_every_answer_names_the_model_version(http: Caller, case: Case) -> None:
    answers = [
        http.predict(case.rows[:1]),
        http.predict([{}]),
        http("GET", "/predict"),
        http("GET", "/no/such/path"),
        http("GET", "/"),
        http("GET", "/docs.json"),
        http("GET", "/v2"),
        http("GET", "/v2/models/no-such-model"),
    ]
    assert {answer.headers["x-model-version"] for answer in answers} == {case.version}


# ---- rows that break the schema ----


def wrong_value(kind: str) -> Any:
    return {"number": SECRET, "boolean": SECRET, "category": [SECRET], "timestamp": SECRET}[kind]


def test_field_is_named_when_its_type_is_wrong(http: Caller, case: Case) -> None:
    for field in case.schema.fields:
        for value in (wrong_value(field.kind), [], {}):
            answer = http.predict([case.rows[0], {**case.row, field.name: value}])
            assert (answer.status, problems(answer)) == (422, [(1, field.name)])


def test_field_is_named_when_it_is_required_and_missing(http: Caller, case: Case) -> None:
    for field in case.schema.fields:
        without = {name: value for name, value in case.row.items() if name != field.name}
        for row in (without, {**without, field.name: None}):
            answer = http.predict([row])
            expected = (422, [(0, field.name)]) if field.required else (200, None)
            assert (answer.status, problems(answer) if answer.status == 422 else None) == expected


def test_field_is_named_when_it_is_unknown(http: Caller, case: Case) -> None:
    answer = http.predict([{**case.row, "no_such_field": SECRET}])
    assert (answer.status, problems(answer)) == (422, [(0, "no_such_field")])


def test_field_is_named_when_its_number_is_out_of_range(http: Caller, case: Case) -> None:
    field = case.field(kind="number", bounded=True)
    assert field.maximum is not None
    answer = http.predict([{**case.row, field.name: field.maximum + 1}])
    assert (answer.status, problems(answer)) == (422, [(0, field.name)])
    assert http.predict([{**case.row, field.name: field.maximum}]).status == 200


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400])
def test_field_is_named_when_its_number_is_not_finite(http: Caller, case: Case, literal: str) -> None:
    field = case.field(kind="number")
    body = json.dumps({"rows": [{**case.row, field.name: "@"}]}).replace('"@"', literal).encode()
    answer = http.post_json("/predict", body)
    assert (answer.status, problems(answer)) == (422, [(0, field.name)])


def test_nan_is_refused_when_it_stands_for_a_text(http: Caller, case: Case) -> None:
    field = case.field(kind="category")
    body = json.dumps({"rows": [{**case.row, field.name: float("nan")}]}).encode()
    answer = http.post_json("/predict", body)
    assert (answer.status, problems(answer)) == (422, [(0, field.name)])


@pytest.mark.parametrize("row", [None, 1, "row", [], [{}], True])
def test_row_is_named_when_it_is_no_object(http: Caller, case: Case, row: Any) -> None:
    answer = http.predict([case.rows[0], row])
    assert (answer.status, problems(answer)) == (422, [(1, None)])


def test_details_are_bounded_when_everything_is_wrong(http: Caller) -> None:
    answer = http.predict([{f"unknown_{index}": 1 for index in range(50)} for _ in range(900)])
    assert answer.status == 422
    assert len(answer.body) < 20_000


def test_surrogates_in_names_and_values_do_no_harm(http: Caller, case: Case) -> None:
    field = case.field(kind="category")
    body = json.dumps({"rows": [{**case.row, field.name: "@"}]}).replace("@", "\\ud800").encode()
    assert http.post_json("/predict", body).status == 200
    body = json.dumps({"rows": [{**case.row, "@": 1}]}).replace("@", "\\ud800").encode()
    assert http.post_json("/predict", body).status == 422


# ---- bodies that cannot be understood ----


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"rows": [',
        b'{"rows": [{}]} trailing',
        b"[]",
        b"null",
        b'"rows"',
        b"{}",
        b'{"rows": {}}',
        b'{"rows": null}',
        b'{"rows": [], "more": 1}',
        b'{"rows": [], "rows": []}',
        b'{"rows": [{"a": 1, "a": 2}]}',
        b'{"rows": ["\xff"]}',
        b'{"rows": ["\xc3"]}',
        b'\xef\xbb\xbf{"rows": []}',
        '{"rows": []}'.encode("utf-16"),
        b'{"rows": [' + b"1" * 5000 + b"]}",
        b'{"rows": ' + b"[" * 200_000,
        b'{"rows": ' + b'{"a":' * 150_000,
        b"[" * 500_000 + b"]" * 500_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_body_is_refused_when_it_cannot_be_understood(http: Caller, body: bytes) -> None:
    answer = http.post_json("/predict", body)
    assert (answer.status, answer.json["error"]["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "application/json; charset=latin-1",
        "application/vnd.bentoml+pickle",
        "Application/VND.BentoML+PICKLE",
        "application/x-pickle",
        "",
    ],
)
def test_body_is_refused_when_its_type_is_not_json(http: Caller, case: Case, content_type: str) -> None:
    answer = http.post_json("/predict", {"rows": case.rows[:1]}, content_type)
    assert (answer.status, answer.json["error"]["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("path", ["/", "/predict", "/livez", "/metrics", "/v2", "/v2/models/x/infer", "/nowhere"])
def test_pickles_are_refused_on_every_path(http: Caller, path: str) -> None:
    assert http.post_json(path, b"\x80\x04.", "application/vnd.BENTOML+pickle; x=y").status == 415


# ---- limits ----


def test_too_many_rows_are_refused(http: Caller, core: Core) -> None:
    answer = http.predict([{}] * (core.limits.max_rows + 1))
    assert (answer.status, answer.json["error"]["code"]) == (413, "too_large")


def test_most_rows_are_answered(http: Caller, core: Core, case: Case) -> None:
    small = {field.name: case.row[field.name] for field in case.schema.fields if field.required}
    answer = http.predict([small] * core.limits.max_rows)
    assert len(answer.json["predictions"]) == core.limits.max_rows


def test_body_is_refused_unread_when_its_declared_length_is_too_much(http: Caller, core: Core) -> None:
    for declared in (str(core.limits.body_limit_bytes + 1), "9" * 40):
        answer = http("POST", "/predict", headers={"content-type": "application/json", "content-length": declared})
        assert (answer.status, answer.closes, http.read) == (413, True, False)


# ---- the front door ----


@pytest.mark.parametrize(
    "path", ["/nowhere", "/predict/", "/predict/x", "/static_content/x", "/static_content/../x", "/v3"]
)
def test_path_is_refused_when_there_is_no_such(http: Caller, path: str) -> None:
    answer = http("GET", path)
    assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", "POST, OPTIONS"),
        ("PUT", "/predict", "POST, OPTIONS"),
        ("POST", "/", "GET, HEAD, OPTIONS"),
        ("DELETE", "/metrics", "GET, HEAD, OPTIONS"),
    ],
)
def test_method_is_refused_when_the_path_has_another(http: Caller, method: str, path: str, allowed: str) -> None:
    answer = http(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)


def test_no_value_is_in_an_error_or_a_log(http: Caller, case: Case, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for field in case.schema.fields:
        value = SECRET if field.kind != "category" else [SECRET]
        assert SECRET not in http.predict([{**case.row, field.name: value}]).body.decode()
    assert SECRET not in http.post_json("/predict", b'{"rows": "%s"' % SECRET.encode()).body.decode()
    assert SECRET not in caplog.text


def test_defect_is_answered_and_logged_without_its_text(
    http: Caller, core: Core, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise KeyError(SECRET)

    monkeypatch.setattr(core, "predict", fail)
    answer = http.predict([])
    assert (answer.status, answer.json["error"]["code"]) == (500, "internal")
    assert "KeyError" in caplog.text
    assert SECRET not in caplog.text
    assert SECRET.encode() not in answer.body
