"""The reconciler's sign of life."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

_FILE_NAME = "reconciler.alive"
_SILENT_S = 10.0


def begin(root: Path) -> None:
    """Count a reconciler that is being started, or looks, as running, for some time."""
    with suppress(OSError):  # a disk that is read-only is no reason to stop
        (root / _FILE_NAME).touch()


def looks(root: Path) -> bool:
    """Tell whether a reconciler has looked lately, or can give no sign of it, since its disk is read-only."""
    path = root / _FILE_NAME
    try:
        return time.time() - path.stat().st_mtime < _SILENT_S or not os.access(path, os.W_OK)
    except FileNotFoundError:
        return False
