"""The ration of one HTTP connection: bounds on the bytes and the time of its requests."""

from __future__ import annotations

from time import perf_counter

from bentos.errors import BodyTimeoutError, HeadTimeoutError, HeadTooLongError, OverloadedError, TargetTooLongError
from bentos.protocols.http.http1.door import Door
from contract.errors import RequestError, TooLargeError

IDLE, HEAD, BODY = range(3)
# Framing, which is the heads of chunks and trailers, may take this much plus a quarter of the body: each chunk costs a call.
_FRAMING_BYTES = 64 * 1024


class Ration:
    """The share of the server's memory and time that a connection may take, request after request.

    Attributes:
        phase: what is awaited: the head of a request, its body, or nothing (`IDLE`).
        deadline: the time by `perf_counter` at which it must have come.
        taken: bytes of the incomplete request.
        body_bytes: bytes of its body.
    """

    __slots__ = ("_door", "_limits", "body_bytes", "deadline", "phase", "taken")

    def __init__(self, door: Door) -> None:
        self._door = door
        self._limits = door.limits
        self.phase = IDLE
        self.deadline = perf_counter() + door.limits.head_timeout_s
        self.taken = self.body_bytes = 0

    def begin_head(self, now: float) -> None:
        """Await the head of a request."""
        self.phase = HEAD
        self.deadline = now + self._limits.head_timeout_s

    def begin_body(self, now: float) -> None:
        """Await the body of a request."""
        self.phase = BODY
        self.deadline = now + self._limits.body_timeout_s
        self.body_bytes = 0

    def rest(self, now: float) -> None:
        """Await the next request, since this one is complete."""
        self.phase = IDLE
        self.deadline = now + self._door.keep_alive_s
        if self.taken:
            self.release()

    def take(self, size: int, *, has_fields: bool) -> RequestError | None:
        """Count bytes of an incomplete request; return an error if they are too many.

        Args:
            has_fields: a header has come, so the target is complete and not too long.
        """
        limits = self._limits
        self.taken += size
        self._door.held_bytes += size
        if self.phase == HEAD and self.taken > limits.head_limit_bytes:
            too_long = HeadTooLongError(f"the headers are longer than {limits.head_limit_bytes} bytes")
            return too_long if has_fields else TargetTooLongError()
        if self.taken - self.body_bytes > limits.head_limit_bytes + _FRAMING_BYTES + self.body_bytes // 4:
            return TooLargeError("the body's chunks are too small, or its trailers too long")
        if self._door.is_full:
            return OverloadedError("too many bodies are being sent at once")
        return None

    def release(self) -> None:
        """Return the request's share of the server's memory."""
        self._door.held_bytes -= self.taken
        self.taken = 0

    def overdue(self) -> RequestError | None:
        """Return the timeout error of the awaited head or body; None if neither is awaited."""
        if self.phase == HEAD:
            return HeadTimeoutError(self._limits.head_timeout_s)
        return BodyTimeoutError(self._limits.body_timeout_s) if self.phase == BODY else None
