"""A real `bentoml serve` of a bundle; needs nothing of the serving environment where a command is given."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import processes
from harness.ports import free_ports

START_TIMEOUT_S = 60


@dataclass
class Server:
    """A running `bentoml serve`."""

    http: str
    grpc: str
    process: subprocess.Popen[bytes]
    log: Path
    admin: str = ""  # where it has an admin port

    @property
    def workers(self) -> list[int]:
        commands = processes.commands()
        return [pid for pid in processes.children(self.process.pid) if "bentos.worker" in commands.get(pid, "")]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def start_server(
    bundle: Path, directory: Path, command: list[str] | None = None, tls: ssl.SSLContext | None = None
) -> Server:
    """`bentoml serve` of the bundle, or `command`, in a directory, waited for until /readyz says yes, over TLS if it is given."""
    http_port, grpc_port = free_ports(2)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "BENTOML", "BULKHEAD"))}
    environment = {
        **kept,
        "BENTOML_HOME": str(directory / "home"),
        "BENTOML_DO_NOT_TRACK": "true",
        "BENTOML_PORT": str(http_port),
        "BULKHEAD_GRPC_PORT": str(grpc_port),
    }
    log = directory / "server.log"
    command = command or [sys.executable, "-m", "bentoml", "serve", str(bundle), "--host", "127.0.0.1"]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=directory, env=environment, stdout=stream, stderr=stream)
    server = Server(f"127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}", process, log)
    _wait_until_ready(server, tls)
    return server


def _wait_until_ready(server: Server, tls: ssl.SSLContext | None) -> None:
    host, port = server.http.split(":")
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            with (
                socket.create_connection((host, int(port)), 5) as plain,
                tls.wrap_socket(plain, server_hostname=host) if tls else plain as connection,
            ):
                connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                if connection.recv(100).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    server.process.kill()
    server.process.wait()
    pytest.fail(f"the server did not become ready:\n{server.log.read_text()[-4000:]}")
