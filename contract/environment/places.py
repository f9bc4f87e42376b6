"""`python -m contract.environment.places`: refuse a working directory in which `make` would fail halfway."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from contract import command_line
from contract.errors import BulkheadError, ConfigurationError

_SUPPORTED = " !%&'()+,-./=@_~"  # of ASCII, besides letters and digits
# A Unix socket's path may have 107 bytes on Linux and 103 on macOS; ours are at most `/fleet/supervisor.sock.12345678` longer.
# (So is `/fleet/run/12345678-999.http`.)
_LONGEST_VAR = 72


def main(project: Path) -> int:
    """Print one line if the path of the project or `BULKHEAD_VAR` is unsupported, and return the exit code."""
    try:
        require_supported(project)
        _require_writable(project)
        require_fit_for_state((project / (os.environ.get("BULKHEAD_VAR") or "var")).resolve())
    except BulkheadError as error:
        command_line.tell(str(error))
        return error.exit_code
    return 0


def require_supported(path: Path) -> None:
    """Check the characters of a path.

    PATH and PYTHONPATH are split at `:`. supervisord's configuration, DVC's and Airflow's have quotes, comments, patterns and variables.

    Raises:
        ConfigurationError: one of them is unsupported.
    """
    for character in str(path):
        if not _is_supported(character):
            raise ConfigurationError(
                f"{str(path)!r} contains {character!r}, which is unsupported: move it to a path of letters, digits, spaces and "
                f"{' '.join(_SUPPORTED.strip())}"
            )


def require_fit_for_state(var: Path) -> None:
    """Check the path in which state is kept.

    Raises:
        ConfigurationError: a character of it is unsupported, or it is too long.
    """
    require_supported(var)
    if len(bytes(var)) > _LONGEST_VAR:
        raise ConfigurationError(
            f"{var} is too long for the Unix sockets below it: set BULKHEAD_VAR to a path of {_LONGEST_VAR} bytes or less"
        )


def _is_supported(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in _SUPPORTED
    return character.isprintable()  # surrogates, which stand for bytes outside UTF-8, are not


def _require_writable(project: Path) -> None:
    if not os.access(project, os.W_OK):
        raise ConfigurationError(
            f"{project} is read-only, and `make` writes .venv, data, models and dvc.lock there: clone it to a directory of your own; "
            "bin/fleet and bin/store do without (docs/how-to/fleet.md)"
        )


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))
