"""One command at a time on a fleet."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from contract.files import private_directory


@contextmanager
def exclusive(root: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of the fleet whose files lie in `root`, which is made if it is not there; `tell` gets a line if that has to wait."""
    private_directory(root)
    with (root / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            tell("waiting for another fleet command to end")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
