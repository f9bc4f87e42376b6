"""The Open Inference Protocol over HTTP, called without a server."""

from __future__ import annotations

import json
import struct

import pytest

from bentos.core import Core
from tests.bentos.caller import Caller
from tests.bentos.conftest import Case
from tests.bentos.http.oip_requests import binary_request, fallbacks, infer, json_tensors, outputs, refusal

# ---- about the server and the model ----


def test_server_and_model_say_what_they_are(http: Caller, core: Core, case: Case) -> None:
    model, version = f"/v2/models/{core.name}", f"/v2/models/{core.name}/versions/{case.version}"
    assert http("GET", "/v2").json["extensions"] == [
        "binary_tensor_data",
        "model_configuration",
        "model_repository",
    ]
    assert http("GET", "/v2/").json == http("GET", "/v2").json
    assert http("GET", "/v2/health/live").json == {"live": True}
    assert http("GET", "/v2/health/ready").json == {"ready": True}
    assert (
        http("GET", f"{model}/ready").json == http("GET", f"{version}/ready").json == {"name": core.name, "ready": True}
    )
    metadata = http("GET", model).json
    assert metadata == http("GET", version).json
    assert metadata["versions"] == [case.version]
    assert [entry["name"] for entry in metadata["inputs"]] == [field.name for field in case.schema.fields]
    assert metadata["outputs"] == [
        {"name": "probability", "datatype": "FP64", "shape": [-1]},
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
    ]


def test_nothing_is_ready_when_the_core_is_not(http: Caller, core: Core) -> None:
    core.ready = False
    assert http("GET", "/v2/health/ready").status == 503
    assert http("GET", f"/v2/models/{core.name}/ready").status == 503
    assert http("GET", "/v2/health/live").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/other",
        "/v2/models/other/infer",
        "/v2/models/other/config",
        "/v2/models/{name}/versions/1",
        "/v2/models/{name}/versions/1/infer",
        "/v2/models/{name}/versions/1/ready",
        "/v2/models/{name}/versions/{prefix}/infer",
        "/v2/models/{name}/versions",
        "/v2/models/{name}/stats",
        "/v2/models/stats",
        "/v2/models/{name}/infer/x",
        "/v2/models",
        "/v2/repository/models/{name}/load",
        "/v2/systemsharedmemory/status",
        "/v2/trace/setting",
        "/v2/logging",
        "/v2//",
    ],
)
def test_path_is_refused_when_there_is_no_such(http: Caller, core: Core, case: Case, path: str) -> None:
    method = "POST" if path.endswith(("/infer", "/load")) else "GET"
    answer = http(method, path.format(name=core.name, prefix=case.version[:12]), b"{}")
    assert answer.status == 404
    assert set(answer.json) == {"error"}


def test_configuration_says_what_the_metadata_say(http: Caller, core: Core, case: Case) -> None:
    config = http("GET", f"/v2/models/{core.name}/config").json
    assert config == http("GET", f"/v2/models/{core.name}/versions/{case.version}/config").json
    assert (config["name"], config["platform"], config["max_batch_size"]) == (core.name, "onnx_onnxv1", 0)
    types = {"FP64": "TYPE_FP64", "BYTES": "TYPE_STRING", "BOOL": "TYPE_BOOL"}
    metadata = http("GET", f"/v2/models/{core.name}").json
    for tensors, configured in ((metadata["inputs"], config["input"]), (metadata["outputs"], config["output"])):
        assert [(entry["name"], entry["data_type"], entry["dims"]) for entry in configured] == [
            (tensor["name"], types[tensor["datatype"]], tensor["shape"]) for tensor in tensors
        ]
    optional = [entry["name"] for entry in config["input"] if entry.get("optional")]
    assert optional == [field.name for field in case.schema.fields if not field.required]


def test_index_lists_the_one_model(http: Caller, core: Core) -> None:
    for body in (b"", b'{"ready": true}'):
        (entry,) = http("POST", "/v2/repository/index", body).json
        assert entry == {"name": core.name, "version": core.version, "state": "READY", "reason": ""}
    core.ready = False
    assert http("POST", "/v2/repository/index").json[0]["state"] == "UNAVAILABLE"


def test_method_is_refused_when_the_path_has_another(http: Caller, core: Core) -> None:
    assert http("GET", f"/v2/models/{core.name}/infer").status == 405
    assert http("POST", "/v2/health/live").status == 405


# ---- inference ----


@pytest.mark.parametrize("member", ["id", "parameters", "outputs"])
def test_null_is_absent_when_a_member_is_optional(http: Caller, core: Core, case: Case, member: str) -> None:
    request = {"inputs": json_tensors(case, case.rows)}
    expected = infer(http, core, request)
    assert infer(http, core, {**request, member: None}).json == expected.json
    assert expected.status == 200 and "id" not in expected.json


def test_null_is_absent_within_inputs_outputs_and_parameters(http: Caller, core: Core, case: Case) -> None:
    inputs = json_tensors(case, case.rows)
    expected = infer(http, core, {"inputs": inputs, "outputs": [{"name": "label"}]})
    nulls = [{**entry, "parameters": None} for entry in inputs]
    assert (
        infer(http, core, {"inputs": nulls, "outputs": [{"name": "label", "parameters": None}]}).json == expected.json
    )
    nulls = [{**entry, "parameters": {"binary_data_size": None}} for entry in inputs]
    assert infer(http, core, {"inputs": nulls, "outputs": [{"name": "label"}]}).json == expected.json
    binary = {"parameters": {"binary_data_output": True}, "inputs": inputs, "outputs": [{"name": "label"}]}
    absent = {**binary, "outputs": [{"name": "label", "parameters": {"binary_data": None}}]}
    assert infer(http, core, binary).body == infer(http, core, absent).body != expected.body


def test_null_is_refused_when_a_member_is_required(http: Caller, core: Core) -> None:
    assert infer(http, core, {"inputs": None}).status == 400


def test_golden_answers_come_back_bit_for_bit(http: Caller, core: Core, case: Case) -> None:
    answer = infer(http, core, {"id": "42", "inputs": json_tensors(case, case.rows)})
    assert outputs(answer) == {
        "probability": [entry["probability"] for entry in case.answers],
        "label": [entry["label"] for entry in case.answers],
    }
    assert (answer.json["id"], answer.json["model_name"], answer.json["model_version"]) == (
        "42",
        core.name,
        case.version,
    )


def test_fallbacks_are_a_parameter_of_the_answer_and_absent_where_nothing_was_assumed(
    http: Caller, core: Core, case: Case
) -> None:
    for start in range(len(case.rows) - 1):
        expected = fallbacks(case.answers[start : start + 2])
        answer = infer(http, core, {"inputs": json_tensors(case, case.rows[start : start + 2])}).json
        assert {
            (entry["field"], entry["problem"], row)
            for entry in json.loads(answer.get("parameters", {}).get("fallbacks", "[]"))
            for row in entry["rows"]
        } == expected
        assert ("parameters" in answer) is bool(expected)
    assert {"missing", "unknown category"} <= {
        entry["problem"] for answer in case.answers for entry in answer.get("fallbacks", ())
    }


def test_version_route_answers_too(http: Caller, core: Core, case: Case) -> None:
    path = f"/v2/models/{core.name}/versions/{case.version}/infer"
    assert http.post_json(path, {"inputs": json_tensors(case, case.rows[:1])}).status == 200


def test_answers_are_the_same_when_tensors_are_nested_or_left_out(http: Caller, core: Core, case: Case) -> None:
    flat = [entry for entry in json_tensors(case, case.rows[:1]) if entry["data"] != [None]]
    nested = [{**entry, "shape": [1, 1], "data": [entry["data"]]} for entry in flat]
    assert outputs(infer(http, core, {"inputs": flat})) == outputs(infer(http, core, {"inputs": nested}))


def test_golden_answers_come_back_when_tensors_are_binary(http: Caller, core: Core, case: Case) -> None:
    body, length = binary_request(case, case.rows, parameters={"binary_data_output": True})
    answer = infer(http, core, body, **{"inference-header-content-length": str(length)})
    assert answer.headers["content-type"] == "application/octet-stream"
    head_length = int(answer.headers["inference-header-content-length"])
    probability, label = json.loads(answer.body[:head_length])["outputs"]
    tail = answer.body[head_length:]
    size = probability["parameters"]["binary_data_size"]
    assert tail[:size] == struct.pack(f"<{len(case.rows)}d", *(entry["probability"] for entry in case.answers))
    assert tail[size:] == b"".join(
        struct.pack("<I", len(entry["label"])) + entry["label"].encode() for entry in case.answers
    )
    assert label["parameters"]["binary_data_size"] == len(tail) - size


def test_head_of_binary_tensors_is_remembered_but_for_its_sizes(http: Caller, core: Core, case: Case) -> None:
    """Rows whose texts are longer and shorter, and all of them as one request, in turn: each gets its own answers."""
    texts = [field.name for field in case.schema.fields if field.kind == "category"]
    many = [*case.rows, *case.rows]
    longer = [{**row, **{name: f"{row.get(name, '')}, a longer one" for name in texts}} for row in many]
    for rows in (many, longer, many[::-1], longer):
        body, length = binary_request(case, rows)
        expected = outputs(infer(http, core, {"inputs": json_tensors(case, rows)}))
        assert outputs(infer(http, core, body, **{"inference-header-content-length": str(length)})) == expected


@pytest.mark.parametrize(
    ("written", "status"),
    [
        (b'"binary_data_size" : 8', 200),
        (b'"binary_data_size":\n8', 200),
        (b'"binary_d\\u0061ta_size": 8', 200),
        (b'"binary_data_size": 08', 400),
        (b'"binary_data_size": 8.0', 400),
        (b'"binary_data_size": 8e0', 400),
        (b'"binary_data_size": 8, "binary_data_size": 8', 400),
        (b'"binary_data_size": 7', 400),
        (b'"binary_data_size": 8x', 400),
        (b'"other": {"binary_data_size": 8}', 400),
        (b'"binary_data_size" : 8, "other": {"binary_data_size": 0}', 200),
    ],
)
def test_size_counts_where_it_stands(http: Caller, core: Core, case: Case, written: bytes, status: int) -> None:
    field = case.field(kind="number", required=True)
    row = {name: value for name, value in case.row.items() if name != field.name}
    number = b'{"name": "%b", "datatype": "FP64", "shape": [1], "parameters": {%b}}'
    plain = json.dumps(json_tensors(case, [row])[::-1]).encode()
    others = json.dumps([entry for entry in json.loads(plain) if entry["name"] != field.name]).encode()[1:]
    answers = []
    for each in (b'"binary_data_size": 8', written):
        head = b'{"inputs": [' + number % (field.name.encode(), each) + b", " + others + b"}"
        body = head + struct.pack("<d", case.row[field.name])
        answers.append(infer(http, core, body, **{"inference-header-content-length": str(len(head))}))
    assert [answer.status for answer in answers] == [200, status]
    assert status != 200 or answers[0].body == answers[1].body


def test_output_decides_for_itself_whether_it_is_binary(http: Caller, core: Core, case: Case) -> None:
    wanted = [{"name": "label", "parameters": {"binary_data": False}}, {"name": "probability"}]
    request = {
        "inputs": json_tensors(case, case.rows[:1]),
        "outputs": wanted,
        "parameters": {"binary_data_output": True},
    }
    answer = infer(http, core, request)
    head = json.loads(answer.body[: int(answer.headers["inference-header-content-length"])])
    assert [("data" in entry, entry["name"]) for entry in head["outputs"]] == [(True, "label"), (False, "probability")]


def test_only_requested_outputs_come_back(http: Caller, core: Core, case: Case) -> None:
    request = {"inputs": json_tensors(case, case.rows), "outputs": [{"name": "label"}]}
    assert list(outputs(infer(http, core, request))) == ["label"]
    request["outputs"] = [{"name": "nothing"}]
    assert "nothing" in refusal(infer(http, core, request))
