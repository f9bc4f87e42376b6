"""Whether a server writes a prediction log, and where; for those who only pass it on, too, who need no numpy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contract.errors import ConfigurationError

FILE_BYTES = 16 << 20  # of a file, about
VARIABLE = "BULKHEAD_PREDICTION_LOG"
LIMIT_VARIABLE = "BULKHEAD_PREDICTION_LOG_MB"
_LIMIT_MB = 1024


@dataclass(frozen=True)
class Settings:
    """Where a server logs, and how many bytes of logs may be there in all, those of other servers included."""

    directory: Path
    limit_bytes: int


def read(environment: Mapping[str, str]) -> Settings | None:
    """As `BULKHEAD_PREDICTION_LOG` and `BULKHEAD_PREDICTION_LOG_MB` (1024) say; None where no log is asked for.

    Raises:
        ConfigurationError: no directory that may be written, or no size.
    """
    if not (named := environment.get(VARIABLE)):
        return None
    directory = Path(named).absolute()
    if not (directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)):
        raise ConfigurationError(
            f"{VARIABLE} must be the path of a directory that this server may write; {directory} is none"
        )
    size, smallest = environment.get(LIMIT_VARIABLE, str(_LIMIT_MB)), FILE_BYTES >> 20
    if not (size.isdecimal() and len(size) < 12 and int(size) >= smallest):
        raise ConfigurationError(f"{LIMIT_VARIABLE} must be a whole number of MB, {smallest} or more")
    return Settings(directory, int(size) << 20)
