"""The gRPC front end over a real socket, with a bare client: typed contents, and what no well-behaved client would send."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from bentos import oip_pb2
from bentos.core import Core
from bentos.grpc_server import GrpcServer
from bentos.tensors import DATATYPES
from contract.errors import ConfigurationError
from tests.bentos.conftest import Case
from tests.ports import free_ports

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
    """Run `work` in a thread against a server on this thread's event loop."""

    async def main() -> None:
        (port,) = free_ports(1)
        server = GrpcServer(core, "127.0.0.1", port)
        await server.start()
        try:
            await asyncio.to_thread(work, Client(port))
        finally:
            await server.stop()

    asyncio.run(main())


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


def test_golden_answers_come_back_typed_when_the_request_is_typed(core: Core, case: Case) -> None:
    def work(client: Client) -> None:
        response = client.infer(typed_request(case, core, case.rows))
        probability, label = response.outputs
        assert list(probability.contents.fp64_contents) == [entry["probability"] for entry in case.answers]
        assert list(label.contents.bytes_contents) == [entry["label"].encode() for entry in case.answers]
        assert (response.model_name, response.model_version, response.id) == (core.name, case.version, "7")
        assert not response.raw_output_contents

    serve(core, work)


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

    monkeypatch.setattr(core, "predict", fail)
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


def test_start_fails_when_the_port_is_taken(core: Core) -> None:
    async def main() -> None:
        (port,) = free_ports(1)
        first, second = GrpcServer(core, "127.0.0.1", port), GrpcServer(core, "127.0.0.1", port)
        await first.start()
        try:
            with pytest.raises(ConfigurationError, match="BULKHEAD_GRPC_PORT"):
                await second.start()
        finally:
            await first.stop()

    asyncio.run(main())


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
