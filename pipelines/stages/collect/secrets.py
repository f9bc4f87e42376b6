"""Variables `${NAME}` in a path or a URL: read from the environment, and never written anywhere."""

from __future__ import annotations

import os
import re
from urllib.parse import quote

from contract.errors import ConfigurationError
from pipelines.params.source import VARIABLE


def expand(key: str, location: str) -> str:
    """Return the location with the values of its variables; user and password, before an `@`, are percent-encoded.

    Raises:
        ConfigurationError: a variable is not set; `key` says where it is named.
    """
    userinfo_end = location.rfind("@")

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in os.environ:
            raise ConfigurationError(f"{key} names ${{{name}}}, which is not set in the environment; set {name}")
        return quote(os.environ[name], safe="") if match.start() < userinfo_end else os.environ[name]

    return VARIABLE.sub(value, location)


def redact(text: str, location: str) -> str:
    """Return a library's message in at most 300 characters of one line, with variable names in place of their values."""
    for name in VARIABLE.findall(location):
        if value := os.environ.get(name):
            for written in sorted({value, quote(value), quote(value, safe="")}, key=len, reverse=True):
                text = text.replace(written, f"${{{name}}}")
    return " ".join(text.split())[:300]
