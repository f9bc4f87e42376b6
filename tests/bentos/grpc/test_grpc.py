"""The gRPC front end over a real socket, with a bare client: typed contents, and what no well-behaved client would send."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, json_format
from hyperframe.frame import RstStreamFrame
from prometheus_client.parser import text_string_to_metric_families

from bentos.core import Core
from bentos.protocols.oip.kinds import DATATYPES
from bentos.protos import health_pb2, oip_pb2, reflection_v1_pb2, reflection_v1alpha_pb2
from harness.waiting import until
from tests.bentos.caller import Caller
from tests.bentos.conftest import Case
from tests.bentos.grpc.http2_peer import INFER, Peer, call_frames, data, grpc_door, headers
from tests.bentos.http.http_server import FrontDoor
from tests.bentos.http.test_http_oip import binary_request, fallbacks, infer, json_tensors

SECRET = "kilroy-was-here"


class Client:
    """Calls one method after the other on a server that lives as long as this object's caller."""

    def __init__(self, port: int) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def call(self, method: str, request: Any, **options: Any) -> bytes:
        content = request if isinstance(request, bytes) else request.SerializeToString()
        path = method if method.startswith("/") else f"/inference.GRPCInferenceService/{method}"
        answer: bytes = self._channel.unary_unary(path)(content, timeout=20, **options)
        return answer

    def infer(self, request: Any) -> Any:
        return oip_pb2.ModelInferResponse.FromString(self.call("ModelInfer", request))

    def refusal(self, method: str, request: Any, **options: Any) -> Any:
        with pytest.raises(grpc.RpcError) as error:
            self.call(method, request, **options)
        return error.value


def serve(core: Core, work: Callable[[Client], None]) -> None:
    """Run `work` against a server."""
    with grpc_door(core) as running:
        work(Client(running.port))


def typed_request(case: Case, core: Core, rows: list[dict[str, Any]]) -> Any:
    """The rows as typed contents; missing fields as the tensors' own spelling of missing."""
    request = oip_pb2.ModelInferRequest(model_name=core.name, id="7")
    for field in case.schema.fields:
        values = [row.get(field.name) for row in rows]
        entry = request.inputs.add(name=field.name, datatype=DATATYPES[field.kind], shape=[len(rows)])
        if field.kind == "number":
            entry.contents.fp64_contents.extend(float("nan") if value is None else value for value in values)
        elif field.kind == "boolean":
            entry.contents.bool_contents.extend(values)
        else:
            entry.contents.bytes_contents.extend(("" if value is None else value).encode() for value in values)
    return request


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


# ---- callers as they are ----


def test_many_calls_at_once_on_one_channel_are_all_answered(door: FrontDoor, case: Case, core: Core) -> None:
    """More than there may be streams: the caller's library waits with the rest."""
    requests = [typed_request(case, core, [row]).SerializeToString() for row in case.rows]

    async def main() -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{door.port}") as channel:
            call = channel.unary_unary(INFER)
            answers = await asyncio.gather(*(call(requests[n % len(requests)], timeout=30) for n in range(1000)))
        for number, answer in enumerate(answers):
            (chance,) = oip_pb2.ModelInferResponse.FromString(answer).outputs[0].contents.fp64_contents
            assert chance == case.answers[number % len(requests)]["probability"]

    asyncio.run(main())


def test_call_ends_with_its_deadline(door: FrontDoor, case: Case, core: Core) -> None:
    """A server that cannot answer in time says so without working for it; one that gets no message tells its caller after it."""
    request = typed_request(case, core, case.rows[:1]).SerializeToString()
    with Peer(door.port) as peer, counted(door, {"deadline_exceeded"}, 2):
        peer.call(1, INFER, request, ("grpc-timeout", "1n"))
        assert peer.answer(1).status == 4
        peer.call(3, INFER, request, ("grpc-timeout", "10S"))
        assert peer.answer(3).status == 0
        peer.send(headers(5, peer.block(INFER, ("grpc-timeout", "300m"))))
        assert peer.answer(5).status == 4
        for stream, value in enumerate(("", "S", "5", "123456789S", "1.5S", "-1S", "1s", "5 S")):
            peer.call(2 * stream + 7, INFER, request, ("grpc-timeout", value))
            assert peer.answer(2 * stream + 7).status == (3 if value else 0), value
    # Both know the deadline, and either may be the first to end the call.
    with (
        counted(door, {"deadline_exceeded", "disconnected"}, 1),
        grpc.insecure_channel(f"127.0.0.1:{door.port}") as channel,
    ):
        grpc.channel_ready_future(channel).result(20)  # or the deadline may pass before the server knows of the call
        over = threading.Event()

        def message() -> Iterator[bytes]:
            over.wait(10)
            yield request

        with pytest.raises(
            grpc.RpcError
        ) as refusal:  # not one of microseconds: gRPC rounds that up, to where it may be met
            channel.stream_unary(INFER)(message(), timeout=0.5)
        over.set()
        assert refusal.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


@contextmanager
def counted(door: FrontDoor, outcomes: set[str], times: int) -> Iterator[None]:
    """Within it, so many calls have one of the outcomes."""

    def count() -> float:
        families = text_string_to_metric_families(door.look(door.server.gate.core.metrics.text))
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == "bulkhead_requests_total"
            and sample.labels["protocol"] == "oip-grpc"
            and sample.labels["outcome"] in outcomes
        )

    before = count()
    yield
    until(lambda: count() == before + times)


def test_call_that_its_caller_gives_up_is_counted_as_such(door: FrontDoor, core: Core) -> None:
    with counted(door, {"disconnected"}, 3), Peer(door.port) as peer:
        for stream in (1, 3, 5):
            peer.send(headers(stream, peer.block(INFER)), data(stream, b"\0\0\0\0\x09half"))
        peer.send(RstStreamFrame(1, 8))
        assert peer.is_live(7)
    assert door.server.gate.held_bytes == 0


def test_stream_of_health_is_cancelled_by_its_caller(door: FrontDoor) -> None:
    request = health_pb2.HealthCheckRequest(service="").SerializeToString()
    with grpc.insecure_channel(f"127.0.0.1:{door.port}") as channel:
        watches = [channel.unary_stream("/grpc.health.v1.Health/Watch")(request) for _ in range(20)]
        for watch in watches:
            assert health_pb2.HealthCheckResponse.FromString(next(watch)).status == 1
            watch.cancel()
        nobody = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"\x0a\x05other", timeout=3)
        assert health_pb2.HealthCheckResponse.FromString(next(nobody)).status == 3
        with pytest.raises(grpc.RpcError) as end:
            next(nobody)
        assert end.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_who_watches_is_told_when_the_server_stops(core: Core) -> None:
    with grpc_door(core) as stopping, grpc.insecure_channel(f"127.0.0.1:{stopping.port}") as channel:
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        assert health_pb2.HealthCheckResponse.FromString(next(watch)).status == 1
        stopping.begin_to_stop()
        assert health_pb2.HealthCheckResponse.FromString(next(watch)).status == 2
        with pytest.raises(grpc.RpcError) as end:
            next(watch)
        assert end.value.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("messages", [reflection_v1_pb2, reflection_v1alpha_pb2], ids=["v1", "v1alpha"])
def test_reflection_answers_each_message_of_a_conversation(door: FrontDoor, messages: Any) -> None:
    service = messages.DESCRIPTOR.services_by_name["ServerReflection"]
    asked = [
        {"list_services": ""},
        {"file_containing_symbol": "inference.GRPCInferenceService.ModelInfer"},
        {"file_by_filename": "bentos/protos/health.proto"},
        {"file_containing_symbol": service.full_name},
        {"file_by_filename": "other.proto"},
        {"all_extension_numbers_of_type": "inference.ModelInferRequest"},
        {
            "file_containing_extension": messages.ExtensionRequest(
                containing_type="inference.ModelInferRequest", extension_number=1
            )
        },
        {},
    ]
    requests = [messages.ServerReflectionRequest(host="x", **entry).SerializeToString() for entry in asked]
    with grpc.insecure_channel(f"127.0.0.1:{door.port}") as channel:
        found = [
            messages.ServerReflectionResponse.FromString(answer)
            for answer in channel.stream_stream(f"/{service.full_name}/ServerReflectionInfo")(
                iter(requests), timeout=10
            )
        ]
    assert [answer.original_request.SerializeToString() for answer in found] == requests
    names = [entry.name for entry in found[0].list_services_response.service]
    versions = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
    assert names == ["grpc.health.v1.Health", *versions, "inference.GRPCInferenceService"]
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(*answer.file_descriptor_response.file_descriptor_proto)
        for answer in found[1:4]
    ]
    assert [file.package for file in files] == ["inference", "grpc.health.v1", service.full_name.rpartition(".")[0]]
    assert list(found[5].all_extension_numbers_response.extension_number) == []
    assert [answer.error_response.error_code for answer in (found[4], *found[6:])] == [5, 5, 5]


def test_call_that_is_none_of_grpc_says_so_in_http(door: FrontDoor) -> None:
    with Peer(door.port) as peer:
        for number, (changes, status) in enumerate(
            [
                ({"content_type": "application/json"}, b"415"),
                ({"content_type": "application/grpc+PICKLE"}, b"415"),
                ({"content_type": "application/vnd.bentoml+pickle"}, b"415"),
                ({"content_type": "Application/X-Pickle; charset=utf-8"}, b"415"),
                ({"content_type": None}, b"415"),
                ({"method": "GET"}, b"415"),
                ({"content_type": "application/grpc+proto"}, b"200"),
                ({"content_type": "Application/GRPC;charset=utf-8"}, b"200"),
            ]
        ):
            peer.send(*call_frames(2 * number + 1, peer.block(**changes)))
            answer = peer.answer(2 * number + 1)
            assert (answer.fields[b":status"], answer.status) == (status, 0 if status == b"200" else 3), changes
