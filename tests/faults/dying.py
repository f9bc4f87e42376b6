"""kill -9 in the middle of writing: a process that ends itself after so many steps, however fast the machine is."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any


def after(steps: int) -> None:
    """End this process once it has done so many fsyncs and renames."""
    done = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            nonlocal done
            result = call(*arguments)
            done += 1
            if done == steps:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return step

    os.fsync, Path.replace = counted(os.fsync), counted(Path.replace)
