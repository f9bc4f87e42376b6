"""Several hosts, each with a fleet of its own, behind one Envoy: network namespaces with links that can be cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contract.errors import EXIT_USAGE
from fleet.envoy import front
from harness.load import hosts
from harness.load.hosts import Host
from harness.waiting import until
from tests.fleet.conftest import FleetCommand
from tests.fleet.crowds import load


@pytest.fixture(scope="module")
def places() -> Iterator[list[Host]]:
    if reason := hosts.missing():
        pytest.skip(reason)
    with hosts.hosts(2) as made:
        yield made


@pytest.fixture
def fleets(fleet: FleetCommand, places: list[Host], tmp_path: Path) -> list[FleetCommand]:
    """A fleet of one replica on each host; they share the store, so the second serves what the first one's deployment made live."""
    made = [replace(fleet, root=tmp_path / f"var{number}", host=host) for number, host in enumerate(places)]
    for each in made:
        each("up", "--size", "1")
    made[0]("deploy", fleet.bundles.first)
    until(lambda: serves(made[1], fleet.bundles.first), "the other host to follow")
    return made


def serves(fleet: FleetCommand, digest: str) -> bool:
    done = fleet.run("status")
    return done.returncode == 0 and {each["digest"] for each in json.loads(done.stdout)["replicas"]} == {digest}


def test_no_request_fails_when_hosts_follow_a_deployment_are_cut_off_and_die(
    fleets: list[FleetCommand], places: list[Host], tmp_path: Path
) -> None:
    first, second = places
    in_front = hosts.in_front(places, fleets[0].http_port, fleets[0].grpc_port, tmp_path)
    with in_front as front, load.running(*front.ports, fleets[0].bundles.source) as requests:

        def more(count: int, when: str) -> None:
            before = sum(requests.answers.values())
            until(
                lambda: sum(requests.answers.values()) > before + count, f"requests to be answered {when}", limit_s=120
            )

        more(100, "by both hosts")
        fleets[0]("deploy", fleets[0].bundles.second)
        until(lambda: serves(fleets[1], fleets[1].bundles.second), "the other host to follow")
        first.cut_off()
        until(lambda: front.healthy() == {second.address}, "the host to be missed")
        more(300, "while a host is cut off")
        first.connect()
        until(lambda: front.healthy() == {first.address, second.address}, "the host to be back")
        # The one that was never cut off: now the other one must serve.
        second.kill()
        until(lambda: front.healthy() == {first.address}, "the dead host to be missed")
        more(300, "while a host is dead")
    requests.check(fleets[0].bundles.first, fleets[0].bundles.second)


@pytest.mark.parametrize("name", ["mars", "10.0.0.1:80", "10.0.0.1:80:81:82"])
def test_a_name_that_is_no_host_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        front.main([name, "--write"])
    assert stopped.value.code == EXIT_USAGE
    assert capsys.readouterr().err.count("\n") == 1
