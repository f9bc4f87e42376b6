"""The standard services of gRPC, which a server need not have: health checking and reflection."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from tests.oip.clauses import NotOfferedError, clause, expect
from tests.oip.http_checks import NOBODY
from tests.oip.server import SERVICE, Server

_GRPC = ("grpc",)
_HEALTH = "/grpc.health.v1.Health"
_REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def optional(server: Server, method: str, request: Any, answer: Any) -> Any:
    """The answer of a service that a server need not have."""
    try:
        return server.rpc.call(method, request, answer)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            raise NotOfferedError("there is no such service") from None
        raise


def health_of(server: Server, service: str) -> Any:
    request = health_pb2.HealthCheckRequest(service=service)
    return optional(server, f"{_HEALTH}/Check", request, health_pb2.HealthCheckResponse).status


@clause("health", "Check", "the server as a whole is SERVING", needs=_GRPC)
def health_of_server(server: Server) -> None:
    expect(health_of(server, "") == health_pb2.HealthCheckResponse.SERVING, "it is not")


@clause("health", "Check", "a service that there is not is NOT_FOUND", needs=_GRPC)
def health_of_nobody(server: Server) -> None:
    try:
        found = health_of(server, NOBODY)
    except grpc.RpcError as error:
        expect(error.code() is grpc.StatusCode.NOT_FOUND, f"answered {error.code()}")
        return
    expect(False, f"answered {found}")


@clause("health", "Watch", "the first message is there at once", needs=_GRPC)
def health_watch(server: Server) -> None:
    health_of(server, "")
    serialize, parse = health_pb2.HealthCheckRequest.SerializeToString, health_pb2.HealthCheckResponse.FromString
    watch = server.rpc.channel.unary_stream(f"{_HEALTH}/Watch", serialize, parse)
    stream = watch(health_pb2.HealthCheckRequest(service=""), timeout=10)
    expect(next(stream).status == health_pb2.HealthCheckResponse.SERVING, "it is not SERVING")
    stream.cancel()


def reflect(server: Server, **request: Any) -> Any:
    serialize = reflection_pb2.ServerReflectionRequest.SerializeToString
    parse = reflection_pb2.ServerReflectionResponse.FromString
    ask = server.rpc.channel.stream_stream(_REFLECTION, serialize, parse)
    try:
        return next(ask(iter([reflection_pb2.ServerReflectionRequest(**request)]), timeout=10))
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            raise NotOfferedError("there is no such service") from None
        raise


@clause("reflection", "list_services", f"{SERVICE} is listed", needs=_GRPC)
def reflection_lists(server: Server) -> None:
    names = [entry.name for entry in reflect(server, list_services="").list_services_response.service]
    expect(SERVICE in names, f"listed are {names}")


@clause(
    "reflection",
    "file_containing_symbol",
    "the file of a service, of a method and of a message",
    needs=_GRPC,
)
def reflection_describes(server: Server) -> None:
    for symbol in (SERVICE, f"{SERVICE}.ModelInfer", "inference.ModelInferRequest"):
        answer = reflect(server, file_containing_symbol=symbol)
        files = answer.file_descriptor_response.file_descriptor_proto
        expect(any(b"ModelInferRequest" in content for content in files), f"{symbol}: {answer.error_response}")


@clause("reflection", "file_containing_symbol", "a symbol that there is not is NOT_FOUND", needs=_GRPC)
def reflection_of_nobody(server: Server) -> None:
    error = reflect(server, file_containing_symbol="no.such.Symbol").error_response
    expect(error.error_code == grpc.StatusCode.NOT_FOUND.value[0], f"answered {error}")
