"""The gRPC front end: the Open Inference Protocol, `grpc.health.v1` and server reflection, on the event loop that HTTP runs on.

Messages are parsed here, not by gRPC: a body that is no message is the caller's fault (INVALID_ARGUMENT), where gRPC would call it
the server's (INTERNAL) and log what it could not read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from bentos import oip, oip_pb2, reflection, tensors
from bentos.access import KeyInterceptor
from bentos.core import Core
from bentos.errors import INTERNAL, log_defect, one_line
from bentos.metrics import OK
from bentos.tensors import Tensor, TensorReader, TensorWriter
from contract.errors import ConfigurationError, InvalidRowsError, Problem, RequestError

SERVICE = "inference.GRPCInferenceService"
PROTOCOL = "oip-grpc"
_HEADS = 32  # to remember; each combination of fields and number of rows has its own
_HEAD_BYTES = 8192  # of the longest head to remember
_CODES = {404: grpc.StatusCode.NOT_FOUND, 413: grpc.StatusCode.RESOURCE_EXHAUSTED}
_TYPED_CONTENTS = {
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    **{f"INT{bits}": "int_contents" for bits in (8, 16, 32)},
    **{f"UINT{bits}": "uint_contents" for bits in (8, 16, 32)},
}
Handler = Callable[[bytes, Any], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Head:
    """What a checked request asks for, but for the values: the inputs as (name, datatype, rows), and the names of the outputs."""

    inputs: tuple[tuple[str, str, int], ...]
    outputs: Sequence[str]


class InferenceService:
    """The methods of the protocol, each from a request message to its response message."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._reader = TensorReader(core.schema)
        self._writer = TensorWriter(core.schema)
        # Callers send raw contents under the same heads again and again; to look at one costs as much as to predict a row.
        self._known_head = lru_cache(maxsize=_HEADS)(self._read_head)

    def server_live(self, _: Any) -> Message:
        return oip_pb2.ServerLiveResponse(live=True)

    def server_ready(self, _: Any) -> Message:
        return oip_pb2.ServerReadyResponse(ready=self._core.ready)

    def model_ready(self, request: Any) -> Message:
        oip.check_model(self._core, request.name, request.version)
        return oip_pb2.ModelReadyResponse(ready=self._core.ready)

    def server_metadata(self, _: Any) -> Message:
        return oip_pb2.ServerMetadataResponse(**oip.server_metadata())

    def model_metadata(self, request: Any) -> Message:
        oip.check_model(self._core, request.name, request.version)
        return oip_pb2.ModelMetadataResponse(**oip.model_metadata(self._core))

    def model_infer(self, request: Any) -> Message:
        """Predict; the answer's tensors come raw if the request's did, else typed."""
        raw, request_id = list(request.raw_input_contents), request.id
        if raw:
            request.ClearField("raw_input_contents")
            request.ClearField("id")
            content = request.SerializeToString()
            head = (self._known_head if len(content) <= _HEAD_BYTES else self._read_head)(content, len(raw))
            inputs = [tensors.from_wire(*entry, values) for entry, values in zip(head.inputs, raw, strict=True)]
        else:
            head = self._check_head(request, 0)
            inputs = [_typed(entry, rows) for entry, (_, _, rows) in zip(request.inputs, head.inputs, strict=True)]
        answers = self._core.predict(self._reader.rows(inputs), request_id.encode(errors="replace"))
        return self._response(request_id, self._writer.tensors(answers, head.outputs), raw=bool(raw))

    def _read_head(self, content: bytes, raw: int) -> Head:
        return self._check_head(oip_pb2.ModelInferRequest.FromString(content), raw)

    def _check_head(self, request: Any, raw: int) -> Head:
        """The head of a request with so many raw contents; raises RequestError if it does not fit."""
        oip.check_model(self._core, request.model_name, request.model_version)
        outputs = self._writer.requested([output.name for output in request.outputs])
        if raw and raw != len(request.inputs):
            raise RequestError("raw_input_contents must hold one element an input, or none at all")
        inputs = []
        for entry in request.inputs:
            rows = self._reader.check(entry.name, entry.datatype, entry.shape)
            self._core.check_size(rows)
            if raw and entry.HasField("contents"):
                raise RequestError("an input has both contents and raw_input_contents")
            inputs.append((entry.name, entry.datatype, rows))
        return Head(tuple(inputs), outputs)

    def _response(self, request_id: str, outputs: Sequence[Tensor], *, raw: bool) -> Message:
        response = oip_pb2.ModelInferResponse(
            model_name=self._core.name, model_version=self._core.version, id=request_id
        )
        for output in outputs:
            entry = response.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
            if raw:
                response.raw_output_contents.append(tensors.to_wire(output))
            elif output.datatype == "BYTES":
                entry.contents.bytes_contents.extend(value.encode() for value in output.values)
            else:
                entry.contents.fp64_contents.extend(output.values)
        return response


def _typed(entry: Any, rows: int) -> Tensor:
    values = getattr(entry.contents, _TYPED_CONTENTS[entry.datatype])
    if entry.datatype == "BYTES":
        return Tensor(entry.name, "BYTES", tensors.from_texts(entry.name, rows, values))
    if len(values) != rows:
        problem = f"holds {len(values)} elements for its datatype, but its shape says {rows}"
        raise InvalidRowsError("an input does not fit the model", [Problem(None, entry.name, problem)])
    return Tensor(entry.name, entry.datatype, list(values))


class GrpcServer:
    """A `grpc.aio` server over a core, bound to one address that nobody else may share; over TLS where there are credentials."""

    def __init__(self, core: Core, host: str, port: int, credentials: Any = None) -> None:
        self._core = core
        self._credentials = credentials
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=[KeyInterceptor(core.access, core, PROTOCOL)] if core.access else [],
            options=[
                ("grpc.max_receive_message_length", core.limits.body_limit_bytes),
                ("grpc.so_reuseport", 0),  # or a second server would silently take half of the calls
                (
                    "grpc.compression_enabled_algorithms_bitset",
                    1,
                ),  # none: a small message must not unpack to a huge one
            ],
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._server.add_generic_rpc_handlers((_handlers(core),))
        reflection.enable(self._server, (SERVICE, health.SERVICE_NAME))

    async def start(self) -> None:
        """Listen, then report SERVING.

        Raises:
            ConfigurationError: the address cannot be had.
        """
        try:
            if self._credentials is None:
                self._server.add_insecure_port(self._address)
            else:
                self._server.add_secure_port(self._address, self._credentials)
        except RuntimeError as error:
            raise ConfigurationError(
                f"gRPC cannot listen on {self._address}; choose another by BULKHEAD_GRPC_HOST and BULKHEAD_GRPC_PORT"
            ) from error
        await self._server.start()
        for service in ("", SERVICE):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        """Report NOT_SERVING, take no new call, and give those in flight `limits.drain_s`."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self._core.limits.drain_s)


def _handlers(core: Core) -> grpc.GenericRpcHandler:
    service = InferenceService(core)
    methods: dict[str, tuple[type[Message], Callable[[Any], Message]]] = {
        "ServerLive": (oip_pb2.ServerLiveRequest, service.server_live),
        "ServerReady": (oip_pb2.ServerReadyRequest, service.server_ready),
        "ModelReady": (oip_pb2.ModelReadyRequest, service.model_ready),
        "ServerMetadata": (oip_pb2.ServerMetadataRequest, service.server_metadata),
        "ModelMetadata": (oip_pb2.ModelMetadataRequest, service.model_metadata),
        "ModelInfer": (oip_pb2.ModelInferRequest, service.model_infer),
    }
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            name: grpc.unary_unary_rpc_method_handler(_handler(core, request, method, counted=name == "ModelInfer"))
            for name, (request, method) in methods.items()
        },
    )


def _handler(core: Core, request_type: type[Message], method: Callable[[Any], Message], *, counted: bool) -> Handler:
    """A gRPC handler from bytes to bytes around `method`; what it raises becomes a status."""
    trailer = (("x-model-version", core.version),)

    async def handle(content: bytes, context: Any) -> bytes:
        started = perf_counter()
        outcome, status, message, answer = OK, grpc.StatusCode.OK, "", b""
        try:
            answer = method(request_type.FromString(content)).SerializeToString()
        except DecodeError:
            outcome, status = RequestError.code, grpc.StatusCode.INVALID_ARGUMENT
            message = f"the body is not a {request_type.DESCRIPTOR.name}"
        except RequestError as error:
            outcome, message = error.code, one_line(error)
            status = _CODES.get(error.status, grpc.StatusCode.INVALID_ARGUMENT)
        except Exception as error:  # noqa: BLE001  # the last line of defence: gRPC would tell the caller its text
            log_defect(error)
            outcome, status = INTERNAL, grpc.StatusCode.INTERNAL
            message = "the server failed; the request may be right"
        if counted:
            core.metrics.count(PROTOCOL, outcome, perf_counter() - started)
        if outcome != OK:
            await context.abort(status, message, trailer)
        return answer

    return handle
