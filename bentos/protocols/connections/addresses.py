"""Where a server listens beside the port that `bentoml serve` is given, by the environment.

Imported by the supervisor too, which refuses to start a worker with an address that is none.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

from contract.errors import ConfigurationError

GRPC_PORT = 3001
Address = tuple[str, int]


def grpc(environment: Mapping[str, str], http_host: str) -> Address:
    """`BULKHEAD_GRPC_HOST` (default: where HTTP listens) and `BULKHEAD_GRPC_PORT` (3001).

    Raises:
        ConfigurationError: the port is not one.
    """
    return environment.get("BULKHEAD_GRPC_HOST") or http_host, _port(environment, "BULKHEAD_GRPC_PORT") or GRPC_PORT


def admin(environment: Mapping[str, str]) -> Address | None:
    """`BULKHEAD_ADMIN_HOST` (127.0.0.1) and `BULKHEAD_ADMIN_PORT`; None where no port is set: then HTTP's has all pages.

    Raises:
        ConfigurationError: the port is not one.
    """
    port = _port(environment, "BULKHEAD_ADMIN_PORT")
    return (environment.get("BULKHEAD_ADMIN_HOST") or "127.0.0.1", port) if port else None


def listen(address: Address, name: str) -> socket.socket:
    """A listening socket that nobody else may share, or a second server would silently get half of the calls; `::` takes IPv4, too.

    Args:
        name: that of its variables, such as GRPC.

    Raises:
        ConfigurationError: the address cannot be had.
    """
    host, port = address
    try:
        if ":" in host:
            return socket.create_server(address, family=socket.AF_INET6, dualstack_ipv6=host == "::")
        return socket.create_server(address)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host}, port {port} ({error.strerror}); choose another by BULKHEAD_{name}_HOST and BULKHEAD_{name}_PORT"
        ) from error


def _port(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name)
    if text is None:
        return None
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ConfigurationError(f"{name} is {text!r}; it must be a port, 1 to 65535")
    return int(text)
