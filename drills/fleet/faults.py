"""The drills of a fleet, beside good callers: processes killed and stopped, a store that says nothing, two fleets on one machine."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from drills.fleet.fleets import DrilledFleet, asked, fleets, waited
from drills.results import Result
from drills.under_load import REQUESTS, SHARE
from fleet.state import socket_of
from fleet.supervisor.processes import send
from fleet.supervisor.unix_http import answers
from harness.bundles import Bundle

RATE_PER_S = 300.0  # at most; less where others who use this machine leave no time for it
_ALONE_S = 10.0
_SUSTAINED_P99_MS = 100.0
_LEAST_S = 75.0
_PAUSE_S = 5.0
_READY_LIMIT_S = 2.0
_ROLLBACK_LIMIT_S = 10.0
_ALL_SERVE = "each has the golden answer"


def fleet(bundle: Bundle) -> list[Result]:
    """All of them, one after the other, on a fleet that each begins with a new state."""
    found = []
    for drill in (
        kills,
        frozen,
        rollbacks,
        balancer,
        supervisor_killed,
        supervisor_stopped,
        training_gone,
        canary_dies,
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
    """One of four replicas a second is killed, for a minute."""
    one.serve(4)
    names = [each["name"] for each in one("status")["replicas"]]
    took: list[float] = []
    with _asked(one, one.first) as found:
        time.sleep(1)
        for turn in range(60):
            began = time.monotonic()
            took.append(_kill_and_wait(one, names[turn % len(names)]))
            time.sleep(max(0.0, began + 1 - time.monotonic()))
    slowest = sorted(took)[int(0.95 * len(took))]
    return [
        _result(19, "a replica killed each second", "kill -9 of one of four replicas a second, 60 times", found),
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


def _kill_and_wait(one: DrilledFleet, name: str) -> float:
    """Seconds from the end of a replica's process until the next one is ready."""
    killed = one.pids(name)
    send(killed, signal.SIGKILL)
    path = socket_of("http", name, one.root)

    def is_back() -> bool:
        return bool(one.pids(name) - killed) and answers(path, "/readyz", limit_s=1)

    return waited(is_back, f"{name} to be ready again")


def frozen(one: DrilledFleet) -> list[Result]:
    """A replica is stopped, again and again; the watchdog replaces it."""
    one.serve(3)
    out: list[float] = []
    names = [each["name"] for each in one("status")["replicas"]]
    with _asked(one, one.first) as found:
        for turn in range(4):
            name = names[turn % len(names)]
            send(one.pids(name), signal.SIGSTOP)
            out.append(waited(lambda name=name: not _ready(one, name), f"{name} to be out of rotation"))  # type: ignore[misc]
            one.wait_until_ready()
    invariant = f"out of rotation within {max(out):.1f} s, {_READY_LIMIT_S:g} s at most"
    return [
        _result(20, "a replica stopped", "SIGSTOP of one of three replicas, four times", found),
        Result(20, "rotation", "the same", len(out), 0, invariant, max(out) <= _READY_LIMIT_S + _STATUS_S),
    ]


_STATUS_S = 0.5  # that `fleet status` takes itself


def _ready(one: DrilledFleet, name: str) -> bool:
    return any(each["name"] == name and each["ready"] for each in one.run("status")[1]["replicas"])


def rollbacks(one: DrilledFleet) -> list[Result]:
    """Another bundle is deployed and taken back."""
    one.serve(2)
    took = []
    with _asked(one, one.first, one.second) as found:
        for _ in range(2):
            one("deploy", one.second)
            began = time.monotonic()
            one("rollback")
            took.append(time.monotonic() - began)
    invariant = f"within {max(took):.1f} s, {_ROLLBACK_LIMIT_S:g} s at most"
    return [
        _result(31, "rollback", "deploy and rollback, twice", found),
        Result(31, "time to roll back", "the same", len(took), 0, invariant, max(took) <= _ROLLBACK_LIMIT_S),
    ]


def balancer(one: DrilledFleet) -> list[Result]:
    """Envoy gets other configurations, and is replaced by another Envoy."""
    one.serve(1)
    with _asked(one, one.first) as found:
        for size in ("3", "1"):
            one("scale", size)
        for _ in range(2):
            with _stopped(one, "watchdog"):
                send([one.supervisord], signal.SIGKILL)
                one("up")
    return [_result(32, "load balancer", "reloaded by scaling, and handed over to another Envoy, twice", found)]


def supervisor_killed(one: DrilledFleet) -> list[Result]:
    """supervisord is killed, and nobody does anything."""
    return _repaired(one, signal.SIGKILL, "killed")


def supervisor_stopped(one: DrilledFleet) -> list[Result]:
    return _repaired(one, signal.SIGSTOP, "stopped")


def _repaired(one: DrilledFleet, number: int, done: str) -> list[Result]:
    one.serve(2)
    with _asked(one, one.first) as found:
        time.sleep(1)
        before = one.supervisord
        send([before], number)
        waited(lambda: one.run("status")[0] == 75, "status to see it")
        took = one.wait_until_ready(120)
    return [_result(45, f"supervisord {done}", f"supervisord {done}; repaired in {took:.0f} s", found)]


def training_gone(one: DrilledFleet) -> list[Result]:
    """All that training shares with the fleet is moved away: the store. Commands refuse, and replicas that die return."""
    one.serve(2)
    away = one.store.with_name("away")
    with _asked(one, one.first) as found:
        one.store.rename(away)
        codes = [one.run(*command)[0] for command in (["up"], ["scale", "3"], ["rollback"])]
        for each in one.run("status")[1]["replicas"]:
            _kill_and_wait(one, each["name"])
            time.sleep(_PAUSE_S)
        away.rename(one.store)
        one.wait_until_ready()
    return [
        _result(34, "training gone", "the store moved away, and each replica killed meanwhile", found),
        Result(
            42,
            "a store that says nothing",
            "up, scale, rollback",
            len(codes),
            0,
            f"refused: {codes}",
            set(codes) == {78},
        ),
    ]


def canary_dies(one: DrilledFleet) -> list[Result]:
    """The only replica of a canary is killed every few seconds."""
    one.serve(2)
    with _asked(one, one.first, one.second) as found:
        one("deploy", one.second, "--canary", "10")
        (canary,) = [each["name"] for each in one("status")["replicas"] if each["digest"] == one.second]
        for _ in range(8):
            _kill_and_wait(one, canary)
            time.sleep(1)
    return [_result(56, "canary", "its only replica killed, eight times", found)]


def two_fleets(one: DrilledFleet, other: DrilledFleet) -> list[Result]:
    """Two fleets with the same port for their replicas, each of another bundle, whose replicas are killed."""
    one.serve(2)
    other("up", "--size", "2")
    other("deploy", other.second)
    with ExitStack() as stack:
        found = [
            stack.enter_context(_asked(each, version, share=0.5))
            for each, version in ((one, one.first), (other, other.second))
        ]
        names = [each("status")["replicas"][0]["name"] for each in (one, other)]
        for _ in range(10):
            for each, name in zip((one, other), names, strict=True):
                _kill_and_wait(each, name)
            time.sleep(1)
    together = {key: found[0][key] + found[1][key] for key in ("asked", "failed")}
    return [_result(47, "two fleets", "two fleets on one machine, 20 replicas killed", together | {"outcomes": {}})]


def balancer_stopped(one: DrilledFleet) -> list[Result]:
    """Envoy is stopped: who asks meanwhile waits or fails, and it is replaced without a person."""
    one.serve(2)
    (envoy,) = one.root.joinpath("programs").glob("envoy-*.conf")
    send(one.pids(envoy.stem), signal.SIGSTOP)
    waited(lambda: one.run("status")[0] == 75, "status to see it")
    took = one.wait_until_ready()
    with _asked(one, one.first) as found:
        pass
    return [_result(45, "Envoy stopped", f"Envoy stopped, and replaced within {took:.0f} s; then asked", found)]


@contextmanager
def _asked(one: DrilledFleet, *versions: str, share: float = 1.0) -> Iterator[dict[str, Any]]:
    """Good callers beside the block, at a rate that the fleet sustains when nothing happens to it; what they found is there after it."""
    rate_per_s = share * RATE_PER_S
    while True:
        with asked(one, rate_per_s, _ALONE_S, *versions) as alone:
            pass
        if alone["p99_ms"] < _SUSTAINED_P99_MS and not alone["failed"]:
            break
        rate_per_s *= SHARE
    with asked(one, rate_per_s, max(_LEAST_S, 1.03 * share * REQUESTS / rate_per_s), *versions) as found:
        yield found
    print(
        f"  asked {rate_per_s:.0f} times a second; p99 {alone['p99_ms']:.0f} ms alone, {found['p99_ms']:.0f} ms beside"
    )


@contextmanager
def _stopped(one: DrilledFleet, program: str) -> Iterator[None]:
    stopped = one.pids(program)
    send(stopped, signal.SIGSTOP)
    try:
        yield
    finally:
        send(stopped, signal.SIGCONT)


def _result(fault: int, name: str, injected: str, found: dict[str, Any]) -> Result:
    print(f"  {name}: {found['outcomes']}")
    held = not found["failed"] and found["asked"] >= REQUESTS
    return Result(fault, name, injected, found["asked"], found["failed"], _ALL_SERVE, held)
