"""Files of lines that grow: each line is whole and on the disk before the next one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def append(path: Path, lines: Iterable[str]) -> None:
    """Append lines to a private file, durably.

    Raises:
        OSError: they cannot be written, as on a full disk; half a line may be left, which costs only itself.
    """
    text = "".join(f"{line}\n" for line in lines)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "ab+") as stream:
        # A writer that was killed, or had no space, may have left half a line.
        if stream.tell() and os.pread(stream.fileno(), 1, stream.tell() - 1) != b"\n":
            text = f"\n{text}"
        stream.write(text.encode())
        stream.flush()
        os.fsync(stream.fileno())
