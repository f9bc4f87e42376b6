"""Hosts on one machine: network namespaces, each with a link of its own to this one. They need root and iproute2.

What is asked of them stays on this machine: the addresses are of 198.18.0.0/15, which is for tests of networks (RFC 2544).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.supervisor import unix_http
from harness import PROJECT, interpreter
from harness.ports import free_ports
from harness.waiting import until


@dataclass(frozen=True)
class Host:
    """A host: `name` of its namespace, `address` as this machine reaches it, `within`: what runs a command there."""

    name: str
    address: str

    @property
    def within(self) -> tuple[str, ...]:
        """The words before a command that run it there."""
        return ("ip", "netns", "exec", self.name)

    def cut_off(self) -> None:
        """Take its link down: what is on its way is lost, and no connection ends."""
        _ip("-n", self.name, "link", "set", "outside", "down")

    def connect(self) -> None:
        """Take its link up again."""
        _ip("-n", self.name, "link", "set", "outside", "up")

    def processes(self) -> list[int]:
        """Return the processes that run there."""
        return [int(each) for each in _ip("netns", "pids", self.name).split()]

    def kill(self) -> None:
        """End all that runs there at once, as a machine that loses its power does."""
        self.cut_off()
        self._kill_all()
        until(lambda: not self._kill_all(), f"{self.name} to be dead")

    def _kill_all(self) -> list[int]:
        found = self.processes()
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return found


def missing() -> str | None:
    """Why this machine can have no hosts; None where it can."""
    if os.geteuid() or not shutil.which("ip"):
        return "hosts need root, and ip of iproute2"
    name = f"bulkhead-{os.getpid()}-try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    return f"no network namespace can be made here: {made.stderr.strip()}" if made.returncode else None


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """So many hosts; all that still runs there is killed at the end."""
    with ExitStack() as stack:
        yield [stack.enter_context(_host(number)) for number in range(count)]


@contextmanager
def _host(number: int) -> Iterator[Host]:
    process = os.getpid()
    block = f"198.18.{process % 250}"
    here, there = f"{block}.{4 * number + 1}", f"{block}.{4 * number + 2}"
    host, link = Host(f"bulkhead-{process}-{number}", there), f"bh{process % 100_000}n{number}"
    _ip("netns", "add", host.name)
    try:
        _ip("link", "add", link, "type", "veth", "peer", "name", "outside", "netns", host.name)
        _ip("address", "add", f"{here}/30", "dev", link)
        _ip("link", "set", link, "up")
        _ip("-n", host.name, "address", "add", f"{there}/30", "dev", "outside")
        for name in ("lo", "outside"):
            _ip("-n", host.name, "link", "set", name, "up")
        yield host
    finally:
        host._kill_all()
        with suppress(subprocess.CalledProcessError):
            _ip("link", "delete", link)
        _ip("netns", "delete", host.name)


@dataclass(frozen=True)
class Front:
    """The Envoy in front of hosts: its ports on this machine, and the socket of its admin interface."""

    ports: tuple[int, int]
    socket: Path

    def healthy(self) -> set[str]:
        """Return the addresses of the hosts that it finds healthy over both protocols."""
        try:
            page = json.loads(unix_http.ask(self.socket, "GET", "/clusters?format=json", limit_s=5)[1])
        except unix_http.FAILURES:
            return set()
        found = [each for cluster in page.get("cluster_statuses", []) for each in cluster.get("host_statuses", [])]
        sick = {_address(each) for each in found if each["health_status"].keys() - {"eds_health_status"}}
        return {_address(each) for each in found} - sick


@contextmanager
def in_front(places: list[Host], http_port: int, grpc_port: int, var: Path) -> Iterator[Front]:
    """Run an Envoy in front of the fleets of hosts, until all of them are healthy to it and then until the block ends.

    Args:
        http_port, grpc_port: of the fleets.
        var: a directory for its files.
    """
    ports = free_ports(2)
    names = [f"{host.address}:{http_port}:{grpc_port}" for host in places]
    environment = {name: text for name, text in os.environ.items() if not name.startswith("BULKHEAD_")} | {
        "BULKHEAD_VAR": str(var),
        "BULKHEAD_HTTP_PORT": str(ports[0]),
        "BULKHEAD_GRPC_PORT": str(ports[1]),
    }
    command = [str(interpreter("fleet")), "-m", "fleet.envoy.front", *names]
    front = Front((ports[0], ports[1]), var / "front" / "envoy.sock")
    with subprocess.Popen(command, cwd=PROJECT, env=environment) as envoy:
        try:
            until(lambda: front.healthy() == {host.address for host in places}, "the hosts to be healthy")
            yield front
        finally:
            envoy.kill()


def _address(host: dict[str, Any]) -> str:
    return str(host["address"]["socket_address"]["address"])


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout
