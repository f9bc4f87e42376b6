"""What the machine decides, not the table: read from the environment."""

from __future__ import annotations

import os


def store_location() -> str:
    """The bundle store: `BULKHEAD_STORE`, a directory or a `file://` URL; `store` in the working directory by default."""
    return os.environ.get("BULKHEAD_STORE", "store")
