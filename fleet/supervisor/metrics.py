"""A replica's page of metrics, and the samples in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from http.client import HTTPConnection
from typing import TypeVar

from contract import api_keys
from contract.errors import ConfigurationError
from fleet.configuration.settings import Settings
from fleet.configuration.state import Replica
from fleet.supervisor import unix_http

Parsed = TypeVar("Parsed")
_SAMPLE = re.compile(r"(\w+)\{(.*)\} (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def read(replica: Replica, settings: Settings, limit_s: float, parse: Callable[[str], Parsed]) -> Parsed | None:
    """Return what `parse` makes of a replica's page of metrics; None if it does not answer in time, or the page is broken."""
    # The port of its pages, not its socket: with BULKHEAD_ADMIN_PORT the socket answers predictions only.
    connection = HTTPConnection("127.0.0.1", replica.admin_port, timeout=limit_s)
    try:
        connection.request("GET", "/metrics", headers=api_keys.headers(settings.passed_on))
        response = connection.getresponse()
        return parse(response.read().decode()) if response.status == 200 else None
    except (*unix_http.FAILURES, ValueError, KeyError, ConfigurationError):
        return None
    finally:
        connection.close()


def samples(text: str, names: Collection[str]) -> Iterator[tuple[str, dict[str, str], float]]:
    """Yield the samples of these names, with their labels and values.

    Only these are parsed: a page has some 900, most of them of its features' bins.
    """
    wanted = tuple(f"{name}{{" for name in names)
    for line in text.splitlines():
        if line.startswith(wanted) and (found := _SAMPLE.fullmatch(line)):
            yield found[1], dict(_LABEL.findall(found[2])), float(found[3])
