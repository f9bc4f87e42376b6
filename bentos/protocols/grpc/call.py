"""One gRPC call as the application sees it: what its fields say, the method that it is of, and a way to answer more than once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from google.protobuf.message import Message  # type: ignore[import-untyped]

from contract.errors import RequestError


class Call(Protocol):
    """A call that is not over with one answer."""

    def send(self, message: Message) -> None: ...
    def finish(self, error: RequestError) -> None: ...


class Ends(Enum):
    """When a call of a method is over."""

    AFTER_ONE = "after one message and its answer"
    WITH_CALLER = "when its caller ends it; each message is answered"
    NEVER = "unless its caller or the server goes away; one message is answered, more than once"


@dataclass(frozen=True, slots=True)
class Method:
    """A method, answered by plain calls.

    Attributes:
        respond: from a request message, and the call where that is not over with one answer, to the response message.
        forget: is told of a call that is over.
        counted: whether it predicts: its successes are counted too, and it needs to be admitted.
    """

    request: type[Message]
    respond: Callable[..., Message]
    ends: Ends = Ends.AFTER_ONE
    forget: Callable[[Call], None] | None = None
    counted: bool = False


@dataclass(frozen=True, slots=True)
class CallHead:
    """What the fields of a call say.

    Attributes:
        timeout_s: what the caller waits for, from its first byte; endless if it does not say.
        length: of the body, in digits; empty where it does not say so.
        coding: how the messages are compressed that are; empty where it does not say so.
        error: what is wrong with them.
        headers: the fields themselves, by name.
        open: whether anybody may call the method, and on a connection that is one too many.
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
