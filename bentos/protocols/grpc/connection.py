"""One connection of a gRPC client: calls as streams of HTTP/2, each answered as soon as it is complete."""

from __future__ import annotations

from functools import partial
from time import perf_counter

from google.protobuf.message import Message

from bentos.errors import BodyTimeoutError, DeadlineError, OverloadedError, UnimplementedError
from bentos.monitoring.metrics import OK
from bentos.protocols.connections.gate import Gate
from bentos.protocols.grpc import status
from bentos.protocols.grpc.app import GrpcApp
from bentos.protocols.grpc.call import CallHead, Ends
from bentos.protocols.grpc.status import PREFIX_BYTES, START, SUCCESS
from bentos.protocols.http2.connection import Http2Connection
from bentos.protocols.http2.frames import ErrorCode, StreamFault
from bentos.protocols.http2.streams import Stream
from bentos.rounds import Score, Unscored
from contract.errors import RequestError

CallStream = Stream[CallHead]


class GrpcConnection(Http2Connection[CallHead]):
    """A connection whose streams are the calls of a `GrpcApp`."""

    def __init__(self, app: GrpcApp, gate: Gate) -> None:
        super().__init__(gate, app.read_head)
        self._app = app

    @property
    def in_flight(self) -> int:
        """The number of predictions whose messages are awaited."""
        return sum(stream.head.method.counted and stream.trailers is None for stream in self.streams.open.values())

    def opened(self, stream: CallStream) -> None:
        head, gate = stream.head, self.gate
        try:
            self._app.admit(head, crowded=self.crowded, full=gate.is_full)
        except RequestError as error:
            self.end(stream, error)
            return
        call_deadline = stream.started + head.timeout_s
        if head.method.ends is Ends.AFTER_ONE:
            stream.deadline = min(stream.deadline, call_deadline)
        else:
            stream.deadline = call_deadline
            stream.state = Conversation(self, stream)
            self.outbox.start(stream, START)

    def received(self, stream: CallStream, data: bytes) -> None:
        try:
            if stream.state is not None:
                self._converse(stream, stream.state, data)
            elif stream.ended and stream.body is None:
                self._respond(stream, data)
            else:
                self._take(stream, data)
        except RequestError as error:
            self.end(stream, error)

    def overdue(self, stream: CallStream) -> None:
        if perf_counter() >= stream.started + stream.head.timeout_s:
            self.end(stream, DeadlineError())
        else:
            self.end(stream, BodyTimeoutError(self.gate.limits.body_timeout_s))

    def gone(self, stream: CallStream) -> None:
        head = stream.head
        if head.method.forget is not None:
            head.method.forget(stream.state)
        if stream.trailers is None and stream.state is None:
            self._app.count(head, "disconnected", stream.started)

    def end(self, stream: CallStream, error: RequestError) -> None:
        """End a call with an error."""
        head = stream.head
        self._app.count(head, error.code, stream.started)
        if stream.state is None:
            self.outbox.refuse(stream, self._app.refusal(error))
        else:
            self.conclude(stream, self._app.refusal(error, started=True))

    def conclude(self, stream: CallStream, block: bytes) -> None:
        """End a call that has had an answer, with the block of its status."""
        if stream.head.method.forget is not None:
            stream.head.method.forget(stream.state)
        self.outbox.finish(stream, block)

    def _take(self, stream: CallStream, data: bytes) -> None:
        """Collect the parts of the call's one message, and answer once it is complete."""
        body = self._keep(stream, data)
        if stream.ended:
            self._respond(stream, bytes(body))
            return
        size = status.message_size(body, stream.head.coding, self.gate.limits.body_limit_bytes)
        if size is not None and size < len(body):
            raise UnimplementedError("a call of this method must have exactly one message")

    def _respond(self, stream: CallStream, body: bytes) -> None:
        head = stream.head
        if head.length and head.length != b"%d" % len(body):
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, stream.id)
        if head.method.counted and self.gate.core.admission.refuses(len(body) - PREFIX_BYTES):
            self._app.count(head, OverloadedError.code, stream.started)
            self.outbox.refuse(stream, self._app.busy)
            return
        packed = status.only_message(body, head.coding, self.gate.limits.body_limit_bytes)
        if not head.method.counted:
            self._answer(stream, self._app.respond(head, packed, stream.started))
            return
        rounds, answer = self.gate.core.rounds, self._app.infer(head, packed, stream.started)
        if isinstance(answer, Unscored):
            rounds.add(answer.columns, partial(self._score, stream, answer))
        else:
            self._answer(stream, answer)
            rounds.flush()

    def _score(self, stream: CallStream, rows: Unscored[Message], score: Score) -> None:
        if not self.outbox.is_open(stream):  # the caller has cancelled the call meanwhile
            return
        try:
            self._answer(stream, self._app.score(rows, score))
        except RequestError as error:
            self.end(stream, error)

    def _answer(self, stream: CallStream, answer: bytes) -> None:
        self._app.count(stream.head, OK, stream.started)
        self.outbox.answer(stream, START, status.with_prefix(answer), SUCCESS)

    def _converse(self, stream: CallStream, conversation: Conversation, data: bytes) -> None:
        """Answer each message as it comes."""
        body, limit = self._keep(stream, data), self.gate.limits.body_limit_bytes
        head = stream.head
        while self.outbox.is_open(stream):
            size = status.message_size(body, head.coding, limit)
            if size is None or size > len(body):
                break
            packed = status.packed(body, size, head.coding)
            del body[:size]
            self.streams.hold(stream, -size)
            self.outbox.send(stream, status.with_prefix(self._app.respond(head, packed, stream.started, conversation)))
        if stream.ended and self.outbox.is_open(stream):
            if body:
                raise RequestError("the message is truncated")
            if head.method.ends is Ends.WITH_CALLER:
                self.conclude(stream, SUCCESS)

    def _keep(self, stream: CallStream, data: bytes) -> bytearray:
        if stream.body is None:
            stream.body = bytearray()
        stream.body += data
        self.streams.hold(stream, len(data))
        if self.gate.is_full:
            raise OverloadedError("too many bodies are being sent at once")
        return stream.body


class Conversation:
    """The open end of a call with more than one answer; it implements `Call`."""

    def __init__(self, connection: GrpcConnection, stream: CallStream) -> None:
        self._connection = connection
        self._stream = stream

    def send(self, message: Message) -> None:
        self._connection.outbox.send(self._stream, status.with_prefix(message.SerializeToString()))
        self._connection.outbox.flush()

    def finish(self, error: RequestError) -> None:
        self._connection.end(self._stream, error)
        self._connection.outbox.flush()
