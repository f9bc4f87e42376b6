"""The ration of one HTTP/2 connection: a bound on the peer's frames without an answer."""

from __future__ import annotations

from bentos.protocols.http2.frames import ConnectionFault, ErrorCode

_AT_ONCE = 1000  # Source: nghttp2's burst of resets
_PER_S = 500
_PER_ANSWER = 8


class Ration:
    """A token bucket: resets, pings, settings, empty frames and the like spend it; answers and time fill it.

    Args:
        now: the time by `perf_counter`, here and in all methods.
    """

    __slots__ = ("_filled_at", "_left")

    def __init__(self, now: float) -> None:
        self._left = float(_AT_ONCE)
        self._filled_at = now

    def earn(self) -> None:
        """Allow more frames, after an answer or a part of one."""
        self._left = min(self._left + _PER_ANSWER, _AT_ONCE)

    def spend(self, now: float) -> None:
        """Count one frame.

        Raises:
            ConnectionFault: the ration is spent.
        """
        self._left -= 1
        if self._left < 0:
            self._left = min(_AT_ONCE, (now - self._filled_at) * _PER_S)
            self._filled_at = now
            if self._left < 1:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many resets, pings, settings or empty frames")
