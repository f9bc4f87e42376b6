"""API keys: a file of them, one a line, which servers check and their own callers (the fleet, the smoke test) take the first of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from contract.errors import ConfigurationError

VARIABLE = "BULKHEAD_API_KEYS_FILE"
_SHORTEST = 32  # characters; of a key that `openssl rand -hex 32` made there are 64


def file_named(environment: Mapping[str, str]) -> Path | None:
    """The file that `BULKHEAD_API_KEYS_FILE` names; None where callers need no key."""
    named = environment.get(VARIABLE)
    return Path(named).absolute() if named else None


def read(path: Path) -> list[str]:
    """The keys in a file, at least one. Blank lines and lines that begin with # are none.

    Raises:
        ConfigurationError: it cannot be read, holds no key, or a line that is none; names the line, never what it says.
    """
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{VARIABLE} names {path}, which cannot be read ({type(error).__name__}): it must be a text file with a key a line"
        ) from None
    keys = []
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        if len(line) < _SHORTEST or not line.isascii() or not line.isprintable() or " " in line:
            raise ConfigurationError(
                f"line {number} of {path} is no API key: {_SHORTEST} or more ASCII characters without a space, such as "
                "`openssl rand -hex 32` prints"
            )
        keys.append(line)
    if not keys:
        raise ConfigurationError(
            f"{path} holds no API key, so nobody could call: put one a line there, or unset {VARIABLE}"
        )
    return keys


def headers(environment: Mapping[str, str]) -> dict[str, str]:
    """What a caller that lives under the same environment as the server sends over HTTP, or as metadata over gRPC.

    Raises:
        ConfigurationError: as `read`.
    """
    path = file_named(environment)
    return {"authorization": f"Bearer {read(path)[0]}"} if path else {}
