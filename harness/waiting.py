"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

_LIMIT_S = 20
_POLL_S = 0.005


def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + _LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(_POLL_S)
