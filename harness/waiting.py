"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.005, 0.05


def until(condition: Callable[[], bool], what: str = "it", *, limit_s: float = 120) -> float:
    """Wait until a condition holds, and return the seconds that it took; fail after the limit with `what` in the message."""
    began, pause_s = time.monotonic(), _FIRST_PAUSE_S
    while not condition():
        assert time.monotonic() < began + limit_s, f"timed out after {limit_s:g} s: waited for {what}"
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    return time.monotonic() - began
