"""The reconciler's sign of life."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from fleet.supervisor import processes

NAME = "reconciler"  # of its program
_FILE_NAME = f"{NAME}.alive"
_SILENT_S = 10.0


def begin(root: Path) -> None:
    """Count a reconciler that is being started, or looks, as running, for some time."""
    with suppress(OSError):  # a disk that is read-only is no reason to stop
        (root / _FILE_NAME).touch()


def looks(root: Path) -> bool:
    """Tell whether a reconciler has looked lately, or is there at least where it can give no sign of it, on a disk that is read-only."""
    path = root / _FILE_NAME
    try:
        if time.time() - path.stat().st_mtime < _SILENT_S:
            return True
    except FileNotFoundError:
        return False
    marks = {processes.FLEET_MARK: str(root), processes.PROGRAM_MARK: NAME}
    return not os.access(path, os.W_OK) and bool(processes.marked(marks))
