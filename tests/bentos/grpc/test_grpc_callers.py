"""Callers of gRPC as they are: many calls at once, deadlines, cancelled calls, streams of health and of reflection."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from hyperframe.frame import RstStreamFrame
from prometheus_client.parser import text_string_to_metric_families

from bentos.core import Core
from bentos.protos import health_pb2, oip_pb2, reflection_v1_pb2, reflection_v1alpha_pb2
from harness.waiting import until
from tests.bentos.conftest import Case
from tests.bentos.grpc.client import typed_request
from tests.bentos.grpc.http2_peer import INFER, Peer, call_frames, data, grpc_door, headers
from tests.bentos.http.http_server import FrontDoor


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
