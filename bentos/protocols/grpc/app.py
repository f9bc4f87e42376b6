"""The gRPC application: plain calls from a message to its answer, without a socket or a coroutine.

`connection` brings the calls. Messages are parsed here: a malformed one is the caller's fault (INVALID_ARGUMENT).
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from google.protobuf.message import DecodeError, Message

from bentos.core import Core
from bentos.errors import (
    DeadlineError,
    DefectError,
    HeadTooLongError,
    OverloadedError,
    UnimplementedError,
    log_defect,
)
from bentos.guards import access
from bentos.monitoring.metrics import OK
from bentos.monitoring.tracing import MIRRORED
from bentos.protocols.connections.compression import inflated
from bentos.protocols.grpc import health, status
from bentos.protocols.grpc.call import Call, CallHead, Method
from bentos.protocols.grpc.health import Health
from bentos.protocols.grpc.oip import SERVICE, InferenceService
from bentos.protocols.grpc.reflection import Reflection
from bentos.protocols.grpc.status import Packed
from bentos.protocols.http2.fields import Fields, size_of
from bentos.protos import oip_pb2
from bentos.rounds import Score, Unscored
from contract.errors import RequestError, UnsupportedTypeError

PROTOCOL = "oip-grpc"
_NO_METHOD = Method(Message, Message)


class GrpcApp:
    """The application over a core.

    Attributes:
        health: the server's health service.
        busy: the answer to a prediction that is shed unread.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.health = Health((SERVICE,))
        self._version = core.version.encode()
        self.busy = self.refusal(OverloadedError())
        self._methods = {
            **_inference(core),
            **self.health.methods(),
            **Reflection((SERVICE, health.SERVICE)).methods(),
        }

    def read_head(self, fields: Fields) -> CallHead:
        """Return the head of a call; its error, if any, is raised by `admit`."""
        by_name = dict(fields)
        path = by_name[b":path"].decode("latin-1")
        method = self._methods.get(path, _NO_METHOD)
        error, timeout_s, limit = None, 0.0, self.core.limits.head_limit_bytes
        try:
            if size_of(fields) > limit:
                raise HeadTooLongError(f"the metadata are longer than {limit} bytes")
            if by_name[b":method"] != b"POST":
                raise UnsupportedTypeError("gRPC calls must be POST requests")
            status.check_content_type(by_name.get(b"content-type", b""))
            timeout_s = status.timeout_s(by_name.get(b"grpc-timeout", b""))
            if method is _NO_METHOD:
                raise UnimplementedError("unknown method")
        except RequestError as wrong:
            error = wrong
        return CallHead(
            path,
            method,
            timeout_s,
            authorization=by_name.get(b"authorization", b"").strip(),
            length=by_name.get(b"content-length", b""),
            coding=by_name.get(b"grpc-encoding", b"").strip(),
            error=error,
            headers=by_name,
            open=access.is_open_method(path),
        )

    def admit(self, head: CallHead, *, crowded: bool, full: bool) -> None:
        """Raise RequestError for a call that is rejected before its message has come."""
        if self.core.access is not None:
            self.core.access.check_method(head.path, head.authorization)
        if head.error is not None:
            raise head.error
        if not head.open and (crowded or full):
            raise OverloadedError("too many connections" if crowded else "too many bodies are being sent at once")

    def infer(self, head: CallHead, packed: Packed, started: float) -> bytes | Unscored[Message]:
        """Return the answer to a prediction that admission control admits, or its rows for `score`.

        Args:
            started: the time of the call, by `perf_counter`.

        Raises:
            RequestError: the call is rejected.
        """
        self.core.admission.admit(len(packed[0]), started, head.timeout_s)
        try:
            answer: bytes | Unscored[Message] = self._answer(head.method, packed, head.headers.get(MIRRORED, b""))
            return answer
        finally:
            self.core.admission.done()

    def score(self, rows: Unscored[Message], score: Score) -> bytes:
        """Return the answer to a prediction with these rows, whose scores `score` returns; raises RequestError."""
        try:
            answer: bytes = rows.answer(*score()).SerializeToString()
        except RequestError:
            raise
        except Exception as error:  # noqa: BLE001  # as in `_answer`
            log_defect(error)
            raise DefectError from None
        return answer

    def respond(self, head: CallHead, packed: Packed, started: float, call: Call | None = None) -> bytes:
        """Return the answer to any other message.

        Raises:
            RequestError: the call is rejected.
        """
        if perf_counter() >= started + head.timeout_s:
            raise DeadlineError
        answer: bytes = self._answer(head.method, packed, *(() if call is None else (call,)))
        return answer

    def _answer(self, method: Method, packed: Packed, *given: Call | bytes) -> Any:
        content, coding = packed
        try:
            if coding:
                content = inflated(content, coding, self.core.limits.body_limit_bytes)
            request = method.request.FromString(content)
            message = method.respond(request, *given)
            return message if isinstance(message, Unscored) else message.SerializeToString()
        except DecodeError:
            raise RequestError(f"the body is not a {method.request.DESCRIPTOR.name}") from None
        except RequestError:
            raise
        except Exception as error:  # noqa: BLE001  # the last line of defence: whatever it is, the caller gets an answer
            log_defect(error)
            raise DefectError from None

    def refusal(self, error: RequestError, *, started: bool = False) -> bytes:
        """Return the field block of an error; `started` if the call has had an answer before."""
        return status.refusal(error, self._version, started=started)

    def count(self, head: CallHead, outcome: str, started: float) -> None:
        """Count a prediction, or a failure of any call."""
        if outcome != OK or head.method.counted:
            self.core.answered(PROTOCOL, outcome, perf_counter() - started, head.headers)


def _inference(core: Core) -> dict[str, Method]:
    service = InferenceService(core)
    methods = {
        "ServerLive": Method(oip_pb2.ServerLiveRequest, service.server_live),
        "ServerReady": Method(oip_pb2.ServerReadyRequest, service.server_ready),
        "ModelReady": Method(oip_pb2.ModelReadyRequest, service.model_ready),
        "ServerMetadata": Method(oip_pb2.ServerMetadataRequest, service.server_metadata),
        "ModelMetadata": Method(oip_pb2.ModelMetadataRequest, service.model_metadata),
        "ModelConfig": Method(oip_pb2.ModelConfigRequest, service.model_config),
        "RepositoryIndex": Method(oip_pb2.RepositoryIndexRequest, service.repository_index),
        "ModelInfer": Method(oip_pb2.ModelInferRequest, service.model_infer, counted=True),
    }
    return {f"/{SERVICE}/{name}": method for name, method in methods.items()}
