"""API keys: a file with one key a line.

Servers accept every key; the project's own callers (the fleet, the smoke test) send the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from contract.errors import ConfigurationError

VARIABLE = "BULKHEAD_API_KEYS_FILE"
_SHORTEST = 32  # characters; `openssl rand -hex 32` prints 64


def file_named(environment: Mapping[str, str]) -> Path | None:
    """Return the path in `BULKHEAD_API_KEYS_FILE`; None if callers need no key."""
    named = environment.get(VARIABLE)
    return Path(named).absolute() if named else None


def read(path: Path) -> list[str]:
    """Return the keys in a file, at least one; blank lines and lines that begin with # are skipped.

    Raises:
        ConfigurationError: the file cannot be read, has no key, or has an invalid line, named by its number, never by its text.
    """
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{VARIABLE} names {path}, which cannot be read ({type(error).__name__}): it must be a text file with one key a line"
        ) from None
    keys = []
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        # What a header can carry unchanged; a space would end the key there.
        if len(line) < _SHORTEST or not line.isascii() or not line.isprintable() or " " in line:
            raise ConfigurationError(
                f"line {number} of {path} is not an API key: a key has {_SHORTEST} or more ASCII characters and no space, as "
                "`openssl rand -hex 32` prints"
            )
        keys.append(line)
    if not keys:
        raise ConfigurationError(
            f"{path} contains no API keys, so every call would be rejected; add one per line, or unset {VARIABLE}"
        )
    return keys


def headers(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the HTTP headers, or gRPC metadata, for a caller in the server's own environment.

    Raises:
        ConfigurationError: as `read`.
    """
    path = file_named(environment)
    return {"authorization": f"Bearer {read(path)[0]}"} if path else {}
