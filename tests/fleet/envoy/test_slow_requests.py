"""Requests of a slow bundle outlive what is done to the Envoys that have them."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Timer

import pytest

from fleet.configuration.settings import Settings
from fleet.configuration.state import Replica, State
from fleet.envoy import routes
from fleet.envoy.balancer import Balancer
from fleet.envoy.proxy import Proxy
from fleet.supervisor.supervision import Program, Supervisor
from harness.ports import free_ports
from harness.waiting import until
from tests.fleet.envoy.conftest import accepts
from tests.fleet.envoy.stand_ins import serving

STATE = State(size=1, live="a" * 64, replicas=(Replica("one", "a" * 64, 0),))


@pytest.fixture
def supervisor(root: Path) -> Iterator[Supervisor]:
    made = Supervisor(root)
    made.start({"PATH": os.environ["PATH"]}, Program("first", ["/bin/sh", "-c", "exec sleep 1000"], root))
    yield made
    made.shut_down()


def allow(root: Path, **limits: float) -> None:
    artifact = root / "bundles" / str(STATE.live) / "src" / "bundle"
    artifact.mkdir(parents=True, exist_ok=True)
    (artifact / "limits.json").write_text(json.dumps(limits))


def status(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/predict", data=b"{}", timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_slow_request_is_answered_when_listeners_change_and_both_envoys_are_replaced(
    supervisor: Supervisor, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "REQUEST_TIMEOUT_S", 1)  # sixteen for this bundle
    allow(root, latency_budget_s=8.0)
    ports = free_ports(2)
    settings = Settings(store="", verify_keys=tuple, root=root, http_port=ports[0], grpc_port=ports[1])
    proxy = Proxy(settings)
    proxy.write(STATE)
    with serving("one", root) as replica, ThreadPoolExecutor(1) as caller:
        balancer = Balancer(settings, supervisor, proxy, print)
        balancer.ensure(STATE.replicas)
        until(lambda: accepts(ports[0]) and status(ports[0]) == 200, "Envoy to reach the replica")
        before, asked = set(supervisor.states()), replica.requests["http"]
        replica.free.clear()
        answer = caller.submit(status, ports[0])
        until(lambda: replica.requests["http"] > asked, "the request to be there")
        Timer(
            7.0, replica.free.set
        ).start()  # long after a request of a faster bundle would have ended, and two seconds more
        allow(root, latency_budget_s=8.0, head_timeout_s=6.0)
        proxy.route(STATE)
        for name in before:
            (root / "programs" / f"{name}.conf").unlink()  # as if they were of another version
        balancer.ensure(STATE.replicas)
        assert answer.result() == 200
    assert not before & {name for name in supervisor.states() if name.startswith("envoy-")}
    balancer.forget()
