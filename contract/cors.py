"""The setting `BULKHEAD_CORS_ORIGINS`, read by servers and by the fleet."""

from __future__ import annotations

import re
from collections.abc import Mapping

from contract.errors import ConfigurationError

VARIABLE = "BULKHEAD_CORS_ORIGINS"
# A browser sends scheme, host and port in lower case, without a path.
_ORIGIN = re.compile(r"https?://(?:\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::\d{1,5})?").fullmatch


def read(environment: Mapping[str, str]) -> frozenset[bytes]:
    """Return the comma-separated origins of `BULKHEAD_CORS_ORIGINS`.

    Raises:
        ConfigurationError: one of them is not an origin.
    """
    named = [part.strip() for part in environment.get(VARIABLE, "").split(",")]
    for origin in filter(None, named):
        if not _ORIGIN(origin):
            raise ConfigurationError(
                f"{VARIABLE} contains {origin!r}, which is not an origin: write each as browsers send it, such as "
                "https://app.example.org, in lower case, without a path, and separate them by commas"
            )
    return frozenset(origin.encode() for origin in named if origin)
