"""One gRPC call as the application sees it: its head, its method, and an interface to answer more than once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Protocol

from google.protobuf.message import Message
from msgspec import Struct

from bentos.rounds import Unscored
from contract.errors import RequestError


class Call(Protocol):
    """A call with more than one answer."""

    def send(self, message: Message) -> None:
        """Send one more answer."""

    def finish(self, error: RequestError) -> None:
        """End the call with an error."""


class Ends(Enum):
    """The end of a method's calls."""

    AFTER_ONE = "after one message and its answer"
    WITH_CALLER = "when the caller ends the call; each message has an answer"
    NEVER = "when the caller or the server goes away; one message has several answers"


class Method(Struct, frozen=True):
    """A method, answered by plain calls.

    Attributes:
        respond: from a request message, and the call if it has more than one answer, or Envoy's name of a mirrored prediction, to the
            response message, or to the rows of a prediction that are to be scored.
        forget: called with each call that has ended.
        counted: the method predicts, so admission control applies and successes are counted, too.
    """

    request: type[Message]
    respond: Callable[..., Message | Unscored[Message]]
    ends: Ends = Ends.AFTER_ONE
    forget: Callable[[Call], None] | None = None
    counted: bool = False


class CallHead(Struct, frozen=True):
    """The head of a call, read from its fields.

    Attributes:
        timeout_s: seconds that the caller waits, from the call's first byte; infinite if not set.
        length: content-length in digits; empty if absent.
        coding: grpc-encoding of the compressed messages; empty if absent.
        error: the first fault in the fields.
        headers: the fields themselves, by name.
        open: the method needs no key, and is served on connections above the bound.
    """

    path: str
    method: Method
    timeout_s: float
    authorization: bytes
    length: bytes
    coding: bytes
    error: RequestError | None
    headers: Mapping[bytes, bytes]
    open: bool
