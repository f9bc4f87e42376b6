"""The drills of a fleet under good callers: processes killed and stopped, an empty store, two fleets on one machine."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from functools import partial

from contract.errors import EXIT_RETRY
from drills.fleet import custody, refusals
from drills.fleet.fleets import DrilledFleet, fleets
from drills.fleet.injections import counted, kill_and_wait, over_both, under_load
from drills.results import Result
from fleet.supervisor.processes import send
from harness.bundles import Bundle
from harness.waiting import until

_PAUSE_S = 5.0
_READY_LIMIT_S = 2.0
_ROLLBACK_LIMIT_S = 10.0


def fleet(bundle: Bundle) -> list[Result]:
    """Run all drills in turn, each on a fleet with a new state."""
    found = []
    for drill in (
        kills,
        frozen,
        rollbacks,
        balancer,
        refusals.bad_bundles,
        partial(repaired, number=signal.SIGKILL, done="killed"),
        partial(repaired, number=signal.SIGSTOP, done="stopped"),
        training_gone,
        canary_dies,
        custody.code_changed,
        custody.environment_replaced,
        custody.training_plane_gone,
        custody.key_rotated,
    ):
        with fleets(bundle) as (one,):
            found += drill(one)
        print(f"  {found[-1].name}: {found[-1].invariant}", flush=True)
    with fleets(bundle, 2) as both:
        found += two_fleets(*both)
    with fleets(bundle) as (one,):
        found += balancer_stopped(one)
    return found


def kills(one: DrilledFleet) -> list[Result]:
    """Kill one of four replicas a second, for a minute."""
    one.serve(4)
    names = [each["name"] for each in one("status")["replicas"]]
    took: list[float] = []
    with over_both(one, one.first) as found:
        time.sleep(1)
        for turn in range(60):
            began = time.monotonic()
            took.append(kill_and_wait(one, names[turn % len(names)]))
            time.sleep(max(0.0, began + 1 - time.monotonic()))
    slowest = sorted(took)[int(0.95 * len(took))]
    return [
        counted(19, "a replica killed each second", "kill -9 of one of four replicas a second, 60 times", found),
        Result(
            19,
            "time until a killed replica is ready again",
            "the same",
            len(took),
            sum(each > _READY_LIMIT_S for each in took),
            f"{max(took):.1f} s at most, 95 % within {slowest:.1f} s; {_READY_LIMIT_S:g} s",
            slowest <= _READY_LIMIT_S,
        ),
    ]


def frozen(one: DrilledFleet) -> list[Result]:
    """Stop replicas; the reconciler replaces them."""
    one.serve(3)
    out: list[float] = []
    names = [each["name"] for each in one("status")["replicas"]]
    with over_both(one, one.first) as found:
        for turn in range(4):
            name = names[turn % len(names)]
            send(one.pids(name), signal.SIGSTOP)
            out.append(until(lambda name=name: not _ready(one, name), f"{name} to be out of rotation"))  # type: ignore[misc]
            one.wait_until_ready()
    invariant = f"out of rotation within {max(out):.1f} s, {_READY_LIMIT_S:g} s at most"
    return [
        counted(20, "a replica stopped", "SIGSTOP of one of three replicas, four times", found),
        Result(20, "rotation", "the same", len(out), 0, invariant, max(out) <= _READY_LIMIT_S + _STATUS_S),
    ]


_STATUS_S = 0.5  # the time of `fleet status` itself


def _ready(one: DrilledFleet, name: str) -> bool:
    return any(each["name"] == name and each["ready"] for each in one.run("status")[1]["replicas"])


def rollbacks(one: DrilledFleet) -> list[Result]:
    """Deploy another bundle and roll back."""
    one.serve(2)
    took = []
    with over_both(one, one.first, one.second) as found:
        for _ in range(2):
            one("deploy", one.second)
            began = time.monotonic()
            one("rollback")
            took.append(time.monotonic() - began)
    invariant = f"within {max(took):.1f} s, {_ROLLBACK_LIMIT_S:g} s at most"
    return [
        counted(31, "rollback", "deploy and rollback, twice", found),
        Result(31, "time to roll back", "the same", len(took), 0, invariant, max(took) <= _ROLLBACK_LIMIT_S),
    ]


def balancer(one: DrilledFleet) -> list[Result]:
    """Reload the configuration of the Envoys, and replace each by another one."""
    one.serve(2)
    with over_both(one, one.first) as found:
        for size in ("3", "2"):
            one("scale", size)
        for _ in range(2):
            for name in one.envoys:  # as if they were of another version
                one.root.joinpath("programs", f"{name}.conf").unlink()
            one("up")
    return [counted(32, "load balancer", "reloaded by scaling, and each Envoy handed over to another, twice", found)]


def repaired(one: DrilledFleet, number: int, done: str) -> list[Result]:
    """Kill or stop supervisord; the reconciler repairs the fleet."""
    one.serve(2)
    with under_load(one, one.first) as found:
        time.sleep(1)
        before = one.supervisord
        send([before], number)
        until(lambda: one.run("status")[0] == EXIT_RETRY, "status to see it")
        took = one.wait_until_ready(120)
    return [counted(36, f"supervisord {done}", f"supervisord {done}; repaired in {took:.0f} s", found)]


def training_gone(one: DrilledFleet) -> list[Result]:
    """Move the store away, all that training shares with the fleet. Commands are rejected, and crashed replicas return."""
    one.serve(2)
    away = one.store.with_name("away")
    with under_load(one, one.first) as found:
        one.store.rename(away)
        codes = [one.run(*command)[0] for command in (["up"], ["scale", "3"], ["rollback"])]
        for each in one.run("status")[1]["replicas"]:
            kill_and_wait(one, each["name"])
            time.sleep(_PAUSE_S)
        away.rename(one.store)
        one.wait_until_ready()
    return [
        counted(34, "training gone", "the store moved away, and each replica killed meanwhile", found),
        Result(
            35,
            "a store that names no live bundle",
            "up, scale, rollback",
            len(codes),
            0,
            f"refused: {codes}",
            set(codes) == {78},
        ),
    ]


def canary_dies(one: DrilledFleet) -> list[Result]:
    """Kill the only replica of a canary every few seconds."""
    one.serve(2)
    with under_load(one, one.first, one.second) as found:
        one("deploy", one.second, "--canary", "10")
        (canary,) = [each["name"] for each in one("status")["replicas"] if each["digest"] == one.second]
        for _ in range(8):
            kill_and_wait(one, canary)
            time.sleep(1)
    return [counted(38, "canary", "its only replica killed, eight times", found)]


def two_fleets(one: DrilledFleet, other: DrilledFleet) -> list[Result]:
    """Kill replicas of two fleets with the same replica port, each with another bundle."""
    one.serve(2)
    other("up", "--size", "2")
    other("deploy", other.second)
    with ExitStack() as stack:
        found = [
            stack.enter_context(under_load(each, version, share=0.5))
            for each, version in ((one, one.first), (other, other.second))
        ]
        names = [each("status")["replicas"][0]["name"] for each in (one, other)]
        for _ in range(10):
            for each, name in zip((one, other), names, strict=True):
                kill_and_wait(each, name)
            time.sleep(1)
    together = {key: found[0][key] + found[1][key] for key in ("asked", "failed")}
    together["outcomes"] = [each["outcomes"] for each in found]
    return [counted(37, "two fleets", "two fleets on one machine, 20 replicas killed", together)]


def balancer_stopped(one: DrilledFleet) -> list[Result]:
    """Stop both Envoys: their callers wait or fail, and the reconciler replaces them."""
    one.serve(2)
    send({pid for name in one.envoys for pid in one.pids(name)}, signal.SIGSTOP)
    until(lambda: one.run("status")[0] == EXIT_RETRY, "status to see it")
    took = one.wait_until_ready()
    with under_load(one, one.first) as found:
        pass
    return [counted(36, "Envoy stopped", f"both Envoys stopped, and replaced within {took:.0f} s; then asked", found)]
