"""A fleet that heals without a person: processes killed in any order, commands killed halfway, a machine that restarts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

import pytest

from fleet.configuration import state as fleet_state
from fleet.configuration.settings import Settings
from fleet.supervisor.processes import send
from harness import PROJECT
from harness.waiting import until
from tests.fleet.conftest import FleetCommand


def test_no_request_fails_and_all_heals_when_whatever_supervises_is_killed_in_any_order(fleet: FleetCommand) -> None:
    fleet.serve(fleet.bundles.first, size=2)
    with fleet.under_load(pause_s=0.02) as load:
        # One after the other, the second while the first is being replaced.
        orders = ((supervisord, reconciler), (reconciler, supervisord), (supervisord, replica))
        for first, second in orders:
            before = first(fleet)
            send(before, signal.SIGKILL)
            until(lambda old=before: not set(old) & fleet.processes(), "it to end")
            if first is supervisord:
                until(lambda old=before: set(supervisord(fleet)) - set(old) != set(), "a new supervisord", limit_s=120)
            send(second(fleet), signal.SIGKILL)
            until(lambda: fleet.run("status").returncode == 0, "the fleet to heal", limit_s=120)
    load.check(fleet.bundles.first)


def test_killed_repair_is_begun_again(fleet: FleetCommand) -> None:
    """The reconciler's process that starts the fleet again is killed as soon as there is another supervisord, or before."""
    fleet.serve(fleet.bundles.first, size=1)
    with fleet.under_load(pause_s=0.02) as load:
        own = set(reconciler(fleet))
        send(supervisord(fleet), signal.SIGKILL)
        until(lambda: bool(set(reconciler(fleet)) - own), "the repair to begin")
        send(set(reconciler(fleet)) - own, signal.SIGKILL)
        until(lambda: fleet.run("status").returncode == 0, "the fleet to heal", limit_s=120)
    load.check(fleet.bundles.first)


@pytest.mark.parametrize("moment", ["replicas start", "the channel has moved", "the state is saved"])
def test_deployment_that_is_killed_is_completed_or_undone_as_a_whole(fleet: FleetCommand, moment: str) -> None:
    first, second = fleet.bundles.first, fleet.bundles.second
    fleet.serve(first, size=1)
    fleet("deploy", second, "--canary", "20")
    known = fleet.processes()
    reached: dict[str, Callable[[], bool]] = {
        "replicas start": lambda: bool(fleet.processes() - known),
        "the channel has moved": lambda: live(fleet) == second,
        "the state is saved": lambda: state(fleet).live == second,
    }
    command = [sys.executable, "-m", "fleet", "promote"]
    with fleet.under_load(pause_s=0.02) as load:
        with subprocess.Popen(command, cwd=PROJECT, env=fleet.environment, stderr=subprocess.DEVNULL) as promotion:
            # It need not reach a moment between two looks; what it has become by its end must be whole all the same.
            until(lambda: reached[moment]() or promotion.poll() is not None, moment)
            with suppress(ProcessLookupError):
                promotion.kill()
        until(lambda: is_whole(fleet), "the reconciler to complete or undo it", limit_s=120)
    load.check(first, second)
    assert (live(fleet) == second) == (state(fleet).canary is None)
    fleet("rollback")


def test_promotion_is_completed_when_it_was_killed_after_it_had_moved_the_channel(fleet: FleetCommand) -> None:
    first, second = fleet.bundles.first, fleet.bundles.second
    fleet.serve(first, size=1)
    fleet("deploy", second, "--canary", "20")
    fleet.store.move("live", second, expected=fleet.store.read("live"), by="fleet promote")
    until(lambda: state(fleet).live == second and is_whole(fleet), "the reconciler to complete it", limit_s=120)
    assert fleet("status")["canary"] is None
    assert b"canary: null" in Settings.read(fleet.environment).declaration.read_bytes()
    told = json.loads(fleet.run("history").stdout)[-1]
    assert (told["by"], told["verb"], told["bundle"], told["verdict"]) == ("reconciler", "apply", second, "done")


def test_up_brings_all_back_when_the_machine_was_restarted(fleet: FleetCommand) -> None:
    first, second = fleet.bundles.first, fleet.bundles.second
    fleet.serve(first, size=2)
    before = fleet("deploy", second, "--canary", "20")
    while left := fleet.processes():  # the reconciler may be starting others
        send(left, signal.SIGKILL)
    assert (fleet.root / "fleet" / "supervisor.sock").exists()
    assert (fleet.root / "fleet" / "supervisord.pid").exists()
    after = fleet("up", "--keep")
    assert after["ready"]
    assert (after["live"], after["size"], after["declared"]) == (before["live"], 2, before["declared"])
    assert sorted(each["digest"] for each in after["replicas"]) == sorted(each["digest"] for each in before["replicas"])
    fleet("rollback")


def supervisord(fleet: FleetCommand) -> list[int]:
    found = int((fleet.root / "fleet" / "supervisord.pid").read_text() or 0)
    with suppress(OSError):
        os.kill(found, 0)
        return [found]
    return []


def reconciler(fleet: FleetCommand) -> list[int]:
    return fleet.pids("reconciler")


def replica(fleet: FleetCommand) -> list[int]:
    return fleet.pids(state(fleet).replicas[0].name)


def state(fleet: FleetCommand) -> fleet_state.State:
    return fleet_state.load(fleet.root / "fleet" / "state.json")


def live(fleet: FleetCommand) -> str | None:
    channel = fleet.store.read("live")
    return channel.digest if channel else None


def is_whole(fleet: FleetCommand) -> bool:
    """Ready, as declared, and nothing left of a killed command."""
    return fleet.run("status").returncode == 0 and len(fleet.started()) == 5 + len(state(fleet).replicas)
