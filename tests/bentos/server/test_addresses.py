"""Where a server listens, by the environment."""

from __future__ import annotations

import socket

import pytest

from bentos.protocols.connections import addresses
from contract.errors import ConfigurationError


def test_grpc_listens_where_http_does_and_admin_pages_are_with_http_unless_told_otherwise() -> None:
    assert addresses.grpc({}, "10.0.0.1") == ("10.0.0.1", 3001)
    assert addresses.grpc({"BULKHEAD_GRPC_HOST": "::1", "BULKHEAD_GRPC_PORT": "9"}, "10.0.0.1") == ("::1", 9)
    assert addresses.admin({"BULKHEAD_ADMIN_HOST": "0.0.0.0"}) is None
    assert addresses.admin({"BULKHEAD_ADMIN_PORT": "9"}) == ("127.0.0.1", 9)
    assert addresses.admin({"BULKHEAD_ADMIN_PORT": "9", "BULKHEAD_ADMIN_HOST": "::"}) == ("::", 9)


@pytest.mark.parametrize("port", ["", "http", "0", "65536", "-1", "¹"])
def test_port_is_named_when_it_is_none(port: str) -> None:
    with pytest.raises(ConfigurationError, match="BULKHEAD_GRPC_PORT"):
        addresses.grpc({"BULKHEAD_GRPC_PORT": port}, "")
    with pytest.raises(ConfigurationError, match="BULKHEAD_ADMIN_PORT"):
        addresses.admin({"BULKHEAD_ADMIN_PORT": port})


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
def test_port_is_shared_with_nobody(host: str) -> None:
    with addresses.listen((host, 0), "GRPC") as first:
        for other in ("127.0.0.1", "0.0.0.0", host):
            with pytest.raises(ConfigurationError, match="BULKHEAD_GRPC_PORT"):
                addresses.listen((other, first.getsockname()[1]), "GRPC")
        first.settimeout(5)
        with socket.create_connection(("127.0.0.1", first.getsockname()[1]), 5):
            first.accept()[0].close()
