"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.005, 0.1


def until(condition: Callable[[], bool], what: str = "it", *, limit_s: float = 120) -> None:
    """Wait until a condition holds; fail after the limit with `what` in the message."""
    deadline, pause_s = time.monotonic() + limit_s, _FIRST_PAUSE_S
    while not condition():
        assert time.monotonic() < deadline, f"timed out after {limit_s:g} s: waited for {what}"
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
