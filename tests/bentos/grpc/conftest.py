"""A gRPC server in this process in place of the HTTP one, and a caller that may break the rules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bentos.core import Core
from harness.waiting import until
from tests.bentos.grpc.http2_peer import Peer, grpc_door
from tests.bentos.http.http_server import FrontDoor


@pytest.fixture(scope="module")
def door(loaded_core: Core) -> Iterator[FrontDoor]:
    loaded_core.ready = True
    with grpc_door(loaded_core) as running:
        yield running


@pytest.fixture
def peer(door: FrontDoor) -> Iterator[Peer]:
    with Peer(door.port) as connected:
        yield connected


@pytest.fixture
def nothing_is_left_or_logged(door: FrontDoor, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    until(lambda: not door.server.gate.connections and door.server.gate.held_bytes == 0)
    assert not caplog.records
