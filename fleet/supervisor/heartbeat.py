"""The reconciler's sign of life."""

from __future__ import annotations

import time
from pathlib import Path

_FILE_NAME = "reconciler.alive"
_SILENT_S = 10.0


def begin(root: Path) -> None:
    """Count a reconciler that is being started as running, for some time."""
    (root / _FILE_NAME).touch()


def looks(root: Path) -> bool:
    """Tell whether a reconciler has looked lately."""
    try:
        return time.time() - (root / _FILE_NAME).stat().st_mtime < _SILENT_S
    except FileNotFoundError:
        return False
