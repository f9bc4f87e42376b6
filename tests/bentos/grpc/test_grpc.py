"""The gRPC front end over a real socket, with a bare client: typed contents, and what no well-behaved client would send."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from bentos.core import Core
from bentos.protos import health_pb2, oip_pb2
from tests.bentos.caller import Caller
from tests.bentos.conftest import Case
from tests.bentos.grpc.client import Client, serve, typed_request
from tests.bentos.http.oip_requests import binary_request, fallbacks, infer, json_tensors

SECRET = "kilroy-was-here"


@pytest.mark.parametrize("parameter", ["shared_memory_region", "classification"])
@pytest.mark.parametrize("raw", [False, True])
def test_parameter_is_refused_when_it_asks_for_what_this_server_does_not_do(
    core: Core, case: Case, parameter: str, raw: bool
) -> None:
    def work(client: Client) -> None:
        for part in ("request", "input", "output"):
            request = typed_request(case, core, case.rows[:1])
            request.outputs.add(name="label")
            if raw:
                raw_request(request)
            holder = {"request": request, "input": request.inputs[-1], "output": request.outputs[0]}[part]
            holder.parameters[parameter].int64_param = 1
            error = client.refusal("ModelInfer", request)
            assert (error.code(), parameter in error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, True)

    serve(core, work)


def raw_request(request: Any) -> None:
    """Turn typed contents into raw ones."""
    for entry in request.inputs:
        if entry.datatype == "BYTES":
            (value,) = entry.contents.bytes_contents
            request.raw_input_contents.append(struct.pack("<I", len(value)) + value)
        else:
            kind, values = (
                ("?", entry.contents.bool_contents) if entry.datatype == "BOOL" else ("d", entry.contents.fp64_contents)
            )
            request.raw_input_contents.append(struct.pack(f"<{kind}", *values))
        entry.ClearField("contents")


def test_configuration_and_index_are_those_of_http(core: Core, http: Caller) -> None:
    def work(client: Client) -> None:
        for version in ("", core.version):
            asked = oip_pb2.ModelConfigRequest(name=core.name, version=version)
            config = oip_pb2.ModelConfigResponse.FromString(client.call("ModelConfig", asked)).config
            names = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
            said = json_format.MessageToDict(config, **names)
            expected = http("GET", f"/v2/models/{core.name}/config").json
            assert [entry["dims"] for entry in said["input"]] == [["-1"]] * len(
                expected["input"]
            )  # int64 is text there
            for entries in (said["input"], expected["input"], said["output"], expected["output"]):
                for entry in entries:
                    del entry["dims"]
            for entry in expected["input"]:
                entry.setdefault("optional", False)
            assert said == expected
        index = oip_pb2.RepositoryIndexResponse.FromString(client.call("RepositoryIndex", b""))
        (entry,) = index.models
        assert json_format.MessageToDict(entry) | {"reason": ""} == http("POST", "/v2/repository/index").json[0]
        other = oip_pb2.ModelConfigRequest(name="other")
        assert client.refusal("ModelConfig", other).code() is grpc.StatusCode.NOT_FOUND
        for method in ("ModelStatistics", "RepositoryModelLoad", "SystemSharedMemoryStatus", "TraceSetting"):
            assert client.refusal(method, b"").code() is grpc.StatusCode.UNIMPLEMENTED

    serve(core, work)


def test_golden_answers_come_back_typed_when_the_request_is_typed(core: Core, case: Case) -> None:
    def work(client: Client) -> None:
        response = client.infer(typed_request(case, core, case.rows))
        probability, label = response.outputs
        assert list(probability.contents.fp64_contents) == [entry["probability"] for entry in case.answers]
        assert list(label.contents.bytes_contents) == [entry["label"].encode() for entry in case.answers]
        assert (response.model_name, response.model_version, response.id) == (core.name, case.version, "7")
        assert not response.raw_output_contents
        assumed = json.loads(response.parameters["fallbacks"].string_param)
        assert {(entry["field"], entry["problem"], row) for entry in assumed for row in entry["rows"]} == fallbacks(
            case.answers
        )

    serve(core, work)


def test_zero_is_encoded_alike_over_every_way_in_whatever_its_sign(
    core: Core, http: Caller, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table has one zero, and a model has learned from that."""
    numbers = [field.name for field in case.schema.fields if field.kind == "number" and (field.minimum or 0) <= 0]
    positive, negative = (case.row | dict.fromkeys(numbers, zero) for zero in (0.0, -0.0))
    encoded: list[bytes] = []
    monkeypatch.setattr(core.observations, "add", lambda matrix, *_: encoded.append(matrix.tobytes()))

    def over_grpc(client: Client) -> None:
        typed, raw = (typed_request(case, core, [negative]) for _ in range(2))
        raw_request(raw)
        client.infer(typed)
        client.infer(raw)

    http.predict([positive])
    http.predict([negative])
    http.predict([negative | dict.fromkeys(numbers, "-0.0")])
    infer(http, core, {"inputs": json_tensors(case, [negative])})
    body, length = binary_request(case, [negative])
    infer(http, core, body, **{"Inference-Header-Content-Length": str(length)})
    serve(core, over_grpc)
    assert len(numbers) > 3
    assert encoded == encoded[:1] * 7


def test_call_is_refused_with_the_status_that_fits(core: Core, case: Case) -> None:
    code = grpc.StatusCode

    def refused(client: Client, **changes: Any) -> Any:
        request = typed_request(case, core, case.rows[:1])
        for name, value in changes.items():
            setattr(request, name, value)
        return client.refusal("ModelInfer", request)

    def work(client: Client) -> None:
        assert refused(client, model_name="other").code() == code.NOT_FOUND
        assert refused(client, model_version="1").code() == code.NOT_FOUND
        assert client.refusal("ModelReady", oip_pb2.ModelReadyRequest(name="other")).code() == code.NOT_FOUND
        assert client.refusal("ModelMetadata", oip_pb2.ModelMetadataRequest(name="x")).code() == code.NOT_FOUND
        assert client.refusal("NoSuchMethod", b"").code() == code.UNIMPLEMENTED
        assert client.refusal("ModelInfer", b"\xff\xff\xff").code() == code.INVALID_ARGUMENT
        assert client.refusal("ServerLive", b"\x0b\x0b").code() == code.INVALID_ARGUMENT

        request = typed_request(case, core, case.rows[:1])
        request.outputs.add(name="nothing")
        assert client.refusal("ModelInfer", request).code() == code.INVALID_ARGUMENT

        request = typed_request(case, core, case.rows[:1])
        request.inputs[0].shape[:] = [core.limits.max_rows + 1]
        refusal = client.refusal("ModelInfer", request)
        assert refusal.code() == code.RESOURCE_EXHAUSTED
        assert dict(refusal.trailing_metadata())["x-model-version"] == case.version

        too_long = b" " * (core.limits.body_limit_bytes + 1)
        assert client.refusal("ModelInfer", too_long).code() == code.RESOURCE_EXHAUSTED
        assert client.infer(typed_request(case, core, case.rows)).model_version == case.version

    serve(core, work)


def test_input_is_named_when_it_does_not_fit(core: Core, case: Case) -> None:
    def spoil(index: int, change: Callable[[Any], None]) -> Any:
        request = typed_request(case, core, case.rows[:1])
        change(request.inputs[index])
        return request

    def work(client: Client) -> None:
        for index, field in enumerate(case.schema.fields):
            for change in (
                lambda entry: entry.ClearField("contents"),
                lambda entry: entry.contents.int_contents.append(1) or entry.shape.append(2),
                lambda entry: setattr(entry, "datatype", "FP16"),
                lambda entry: entry.shape.append(-1),
                lambda entry: entry.ClearField("shape"),
                lambda entry: setattr(entry, "datatype", "INT8") or entry.contents.int_contents.append(300),
            ):
                refusal = client.refusal("ModelInfer", spoil(index, change))
                assert refusal.code() == grpc.StatusCode.INVALID_ARGUMENT
                assert field.name in refusal.details()
        field = case.field(kind="timestamp")
        position = [entry.name for entry in case.schema.fields].index(field.name)
        refusal = client.refusal(
            "ModelInfer", spoil(position, lambda entry: entry.contents.bytes_contents.__setitem__(0, SECRET.encode()))
        )
        assert field.name in refusal.details()
        assert SECRET not in refusal.details()

    serve(core, work)


def test_raw_contents_are_refused_when_they_do_not_match_the_inputs(core: Core, case: Case) -> None:
    def work(client: Client) -> None:
        both = typed_request(case, core, case.rows[:1])
        both.raw_input_contents.extend([b""] * len(both.inputs))
        few = oip_pb2.ModelInferRequest(model_name=core.name, raw_input_contents=[b""])
        for request in (both, few):
            assert client.refusal("ModelInfer", request).code() == grpc.StatusCode.INVALID_ARGUMENT

    serve(core, work)


def test_small_message_that_unpacks_to_a_huge_one_is_refused(core: Core) -> None:
    def work(client: Client) -> None:
        bomb = b"\0" * (64 * 1024 * 1024)
        refusal = client.refusal("ModelInfer", bomb, compression=grpc.Compression.Gzip)
        assert refusal.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.RESOURCE_EXHAUSTED)
        assert client.call("ServerLive", b"")

    serve(core, work)


def test_defect_is_answered_and_logged_without_its_text(
    core: Core, case: Case, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise KeyError(SECRET)

    def work(client: Client) -> None:
        refusal = client.refusal("ModelInfer", typed_request(case, core, case.rows[:1]))
        assert refusal.code() == grpc.StatusCode.INTERNAL
        assert SECRET not in refusal.details()

    monkeypatch.setattr(core, "predict_tensors", fail)
    serve(core, work)
    assert "KeyError" in caplog.text
    assert SECRET not in caplog.text


def test_health_is_reported_for_the_server_and_the_service(core: Core) -> None:
    def work(client: Client) -> None:
        for service in ("", "inference.GRPCInferenceService"):
            content = client.call("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest(service=service))
            serving = health_pb2.HealthCheckResponse.FromString(content)
            assert serving.status == health_pb2.HealthCheckResponse.SERVING
        unknown = client.refusal("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest(service="other"))
        assert unknown.code() == grpc.StatusCode.NOT_FOUND

    serve(core, work)


def test_raw_answers_are_the_golden_ones_when_heads_repeat_and_differ(core: Core, case: Case) -> None:
    def raw_request(rows: list[dict[str, Any]], request_id: str) -> Any:
        request = typed_request(case, core, rows)
        for entry in request.inputs:
            typed = entry.contents.fp64_contents or entry.contents.bytes_contents or entry.contents.bool_contents
            if entry.datatype == "BYTES":
                content = b"".join(struct.pack("<I", len(value)) + value for value in typed)
            else:
                content = struct.pack(f"<{len(typed)}{'d' if entry.datatype == 'FP64' else '?'}", *typed)
            request.raw_input_contents.append(content)
            entry.ClearField("contents")
        request.id = request_id
        return request

    def work(client: Client) -> None:
        for turn in range(2):
            for count in (1, 2):
                for start in range(len(case.rows) - count):
                    response = client.infer(raw_request(case.rows[start : start + count], f"{turn}-{start}"))
                    expected = [entry["probability"] for entry in case.answers[start : start + count]]
                    assert list(struct.unpack(f"<{count}d", response.raw_output_contents[0])) == expected
                    assert response.id == f"{turn}-{start}"
        other = raw_request(case.rows[:1], "")
        other.model_name = "other"
        assert client.refusal("ModelInfer", other).code() == grpc.StatusCode.NOT_FOUND

    serve(core, work)
