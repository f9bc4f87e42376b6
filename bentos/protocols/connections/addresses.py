"""Addresses of gRPC and of the admin pages, from the environment.

The supervisor imports it too, to check the addresses before it starts a worker.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

from contract.errors import ConfigurationError

GRPC_PORT = 3001
Address = tuple[str, int]


def grpc(environment: Mapping[str, str], http_host: str) -> Address:
    """Return the address of gRPC: `BULKHEAD_GRPC_HOST` (default: HTTP's host) and `BULKHEAD_GRPC_PORT` (3001).

    Raises:
        ConfigurationError: the port is not from 1 to 65535.
    """
    return environment.get("BULKHEAD_GRPC_HOST") or http_host, _port(environment, "BULKHEAD_GRPC_PORT") or GRPC_PORT


def admin(environment: Mapping[str, str]) -> Address | None:
    """Return the address of the admin pages, `BULKHEAD_ADMIN_HOST` (127.0.0.1) and `BULKHEAD_ADMIN_PORT`.

    Returns:
        None if no port is set; HTTP's port then serves all pages.

    Raises:
        ConfigurationError: the port is not from 1 to 65535.
    """
    port = _port(environment, "BULKHEAD_ADMIN_PORT")
    return (environment.get("BULKHEAD_ADMIN_HOST") or "127.0.0.1", port) if port else None


def listen(address: Address, name: str) -> socket.socket:
    """Return a listening socket, without SO_REUSEPORT, so that no second server silently gets half of the calls; `::` takes IPv4, too.

    Args:
        name: as in the names of its variables, such as GRPC.

    Raises:
        ConfigurationError: the address is in use or unavailable.
    """
    host, port = address
    try:
        if ":" in host:
            return socket.create_server(address, family=socket.AF_INET6, dualstack_ipv6=host == "::")
        return socket.create_server(address)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host}, port {port} ({error.strerror}); set BULKHEAD_{name}_HOST and BULKHEAD_{name}_PORT to a free address"
        ) from error


def _port(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name)
    if text is None:
        return None
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ConfigurationError(f"{name} is {text!r}; it must be a port, 1 to 65535")
    return int(text)
