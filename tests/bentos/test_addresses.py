"""Where a server listens, by the environment."""

from __future__ import annotations

import socket

import pytest

from bentos import addresses
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


def test_address_is_named_when_somebody_else_has_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port} .*BULKHEAD_ADMIN_PORT"):
            addresses.listen(("127.0.0.1", port))
