"""Settings of the prediction log, without numpy, so that the fleet can read them too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from contract.errors import ConfigurationError

FILE_BYTES = 16 << 20  # approximate size at which a new file begins
VARIABLE = "BULKHEAD_PREDICTION_LOG"
LIMIT_VARIABLE = "BULKHEAD_PREDICTION_LOG_MB"
_LIMIT_MB = 1024
# A fleet's: where its replicas log the requests that a shadow gets too, under the identifiers that Envoy gave them in this header.
SHADOW_VARIABLE = "BULKHEAD_SHADOW_LOG"
SHADOW_HEADER = "x-bulkhead-mirrored"
_SHADOW_BYTES = 256 << 20


class Settings(NamedTuple):
    """The directory of the logs, and the limit of its bytes, the logs of other servers included."""

    directory: Path
    limit_bytes: int


def read(environment: Mapping[str, str]) -> Settings | None:
    """Return the settings in `BULKHEAD_PREDICTION_LOG` and `BULKHEAD_PREDICTION_LOG_MB` (1024); None if the first is not set.

    Raises:
        ConfigurationError: the directory is not writable, or the size is invalid.
    """
    if not (named := environment.get(VARIABLE)):
        return None
    directory = _writable(VARIABLE, named)
    size, smallest = environment.get(LIMIT_VARIABLE, str(_LIMIT_MB)), FILE_BYTES >> 20
    if not (size.isdecimal() and len(size) < 12 and int(size) >= smallest):
        raise ConfigurationError(f"{LIMIT_VARIABLE} must be a whole number of MB, {smallest} or more")
    return Settings(directory, int(size) << 20)


def read_shadow(environment: Mapping[str, str]) -> Settings | None:
    """Return the settings in `BULKHEAD_SHADOW_LOG`; None if it is not set.

    Raises:
        ConfigurationError: the directory is not writable.
    """
    named = environment.get(SHADOW_VARIABLE)
    return Settings(_writable(SHADOW_VARIABLE, named), _SHADOW_BYTES) if named else None


def _writable(variable: str, named: str) -> Path:
    directory = Path(named).absolute()
    if not (directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)):
        raise ConfigurationError(f"{variable} must name a directory that the server can write; {directory} is not one")
    return directory
