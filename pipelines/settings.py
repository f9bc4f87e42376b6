"""What the machine decides, not the table: read from the environment."""

from __future__ import annotations

import os
from pathlib import Path


def store_location() -> str:
    """The bundle store: `BULKHEAD_STORE`, a directory or a `file://` URL; `store` in the working directory by default."""
    return os.environ.get("BULKHEAD_STORE", "store")


def var_directory() -> Path:
    """What is kept beside the project and by no version control: `BULKHEAD_VAR`; `var` in the working directory by default."""
    return Path(os.environ.get("BULKHEAD_VAR", "var"))
