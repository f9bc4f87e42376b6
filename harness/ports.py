"""Ports for servers that benchmarks and tests start."""

from __future__ import annotations

import socket
from contextlib import suppress
from random import Random

# Below those that Linux gives to connections, of which loads and other tests open thousands before the server has its port, and
# beyond the fixed ones of the fleets in tests.
_PORTS = range(20_000, 32_768)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface on which nothing listens, all different."""
    free: set[int] = set()
    random = Random()  # seeded by the system, whatever a test has done to the module's own
    while len(free) < count:
        port = random.choice(_PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            free.add(port)
    return [*free]
