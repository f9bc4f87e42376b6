"""The ration of one HTTP/2 connection: how many frames its peer may send that ask for no answer."""

from __future__ import annotations

from bentos.protocols.http2.frames import ConnectionFault, ErrorCode

_AT_ONCE = 1000  # Source: nghttp2's burst of resets
_PER_S = 500
_PER_ANSWER = 8


class Ration:
    """Spent by resets, pings, settings, empty frames and the like; earned by answers, and by waiting.

    Args:
        now: the time by `perf_counter`, as for all that follows.
    """

    __slots__ = ("_filled_at", "_left")

    def __init__(self, now: float) -> None:
        self._left = float(_AT_ONCE)
        self._filled_at = now

    def earn(self) -> None:
        """Allow for more frames, after an answer or a part of one."""
        self._left = min(self._left + _PER_ANSWER, _AT_ONCE)

    def spend(self, now: float) -> None:
        """Account for one frame.

        Raises:
            ConnectionFault: there is nothing left.
        """
        self._left -= 1
        if self._left < 0:
            self._left = min(_AT_ONCE, (now - self._filled_at) * _PER_S)
            self._filled_at = now
            if self._left < 1:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that ask for nothing")
