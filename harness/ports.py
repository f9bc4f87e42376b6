"""Ports for servers that benchmarks and tests start."""

from __future__ import annotations

import socket
from contextlib import suppress
from random import Random

# Below the range of Linux's ephemeral ports, since loads and other tests open thousands of connections before the server has its port,
# and above the fixed ports of the fleets in tests.
_PORTS = range(20_000, 32_768)


def free_ports(count: int) -> list[int]:
    """Return different ports of the loopback interface on which nothing listens."""
    free: set[int] = set()
    random = Random()  # seeded by the system, even if a test has seeded the module's own
    while len(free) < count:
        port = random.choice(_PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            free.add(port)
    return [*free]
