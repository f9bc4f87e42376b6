"""The drill of a fleet that heals: processes of every kind killed at random, the reconciler and commands included, under good callers."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from drills.fleet.fleets import DrilledFleet, fleets
from drills.fleet.injections import over_both
from drills.results import Result
from drills.under_load import REQUESTS
from fleet.envoy.proxy import NUMBERS, admin_socket
from fleet.supervisor.processes import FLEET_MARK, programs
from fleet.supervisor.unix_http import answers
from harness import processes
from harness.bundles import Bundle

ENVOY = "Envoy"
_KILLING_S = 60.0
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.3, 1.5
_HEAL_LIMIT_S = 60.0
# By then a caller does not send on a connection that has ended, and has counted what was lost on it.
_NOTICED_S, _SEEN_S = 0.05, 1.0


@dataclass
class Kills:
    """The kills of one drill: counts by kind, and of each killed Envoy when it was killed and when callers had noticed."""

    counts: Counter[str] = field(default_factory=Counter)
    of_envoys: list[tuple[float, float]] = field(default_factory=list)

    def kill(self, kind: str, pids: set[int]) -> None:
        """Kill processes, and wait until they are gone."""
        began = time.perf_counter()
        processes.kill(pids)
        self.counts[kind] += bool(pids)
        if pids and kind == ENVOY:
            self.of_envoys.append((began, time.perf_counter() + _NOTICED_S))

    def explains(self, loss: tuple[float, float]) -> bool:
        """Tell whether a lost request was in flight when an Envoy was killed."""
        sent, seen = loss
        return any(sent <= noticed and began <= seen <= noticed + _SEEN_S for began, noticed in self.of_envoys)

    def __str__(self) -> str:
        return ", ".join(f"{name} ({count})" for name, count in sorted(self.counts.items()))


def chaos(bundle: Bundle, seed: int) -> list[Result]:
    """Kill processes at random for a minute, one of the two Envoys at a time."""
    print(f"  seed {seed}")
    with fleets(bundle) as (one,):
        return whatever(one, random.Random(seed))


def whatever(one: DrilledFleet, draw: random.Random) -> list[Result]:
    """Kill a replica, an Envoy, supervisord, the reconciler, its repairs, or a running command, one after the other, at random moments."""
    one.serve(3)
    kills = Kills()
    commands: list[subprocess.Popen[bytes]] = []
    victims: dict[str, Callable[[], set[int]]] = {
        "replica": lambda: one.pids(draw.choice(_replicas(one))),
        ENVOY: lambda: _envoy(one, draw),
        "supervisord": lambda: programs({FLEET_MARK: str(one.root)}).get("", set()),
        "reconciler or its repair": lambda: {draw.choice(sorted(one.pids("reconciler")) or [0])} - {0},
        "command": lambda: {each.pid for each in commands if each.poll() is None},
    }
    with over_both(one, one.first, one.second) as found:
        ends = time.monotonic() + _KILLING_S
        while time.monotonic() < ends:
            if not any(each.poll() is None for each in commands):
                asked = draw.choice([("scale", "3"), ("scale", "4"), ("deploy", one.first), ("deploy", one.second)])
                commands.append(one.begin(*asked))
            kind = draw.choice(list(victims))
            kills.kill(kind, victims[kind]())
            time.sleep(draw.uniform(_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S))
        for each in commands:
            each.wait()
        healed_s = one.wait_until_ready(_HEAL_LIMIT_S)
    injected = f"kill -9, at random, of {kills}"
    print(f"  {injected}; {len(commands)} commands; healed {healed_s:.1f} s after the last kill")
    return [_lost(found, kills, injected, REQUESTS), _healed(one, injected, sum(kills.counts.values()), healed_s)]


def _lost(found: dict[str, Any], kills: Kills, injected: str, least: int) -> Result:
    """Compare the failed requests with those in flight at an Envoy when it was killed, which nobody can help but their callers."""
    in_flight = sum(kills.explains(loss) for loss in found["losses"])
    failed = found["failed"] - in_flight
    print(f"  outcomes: {found['outcomes']}; {in_flight} requests were in flight at an Envoy when it was killed")
    invariant = f"each has the golden answer, but {in_flight} in flight at a killed Envoy"
    held = not failed and found["asked"] >= least
    return Result(43, "processes killed at random", injected, found["asked"], failed, invariant, held)


def _envoy(one: DrilledFleet, draw: random.Random) -> set[int]:
    """Return the processes of an Envoy; none unless both serve: killed together, they refuse callers for a second."""
    if not all(answers(admin_socket(one.root, number), "/ready", limit_s=1) for number in NUMBERS):
        return set()
    return one.pids(draw.choice(one.envoys))


def _healed(one: DrilledFleet, injected: str, kills: int, healed_s: float) -> Result:
    """Compare what is declared, what the store says and what runs."""
    status = one("status")
    state = json.loads((one.root / "state.json").read_bytes())
    live = {each["digest"] for each in status["replicas"]}
    # supervisord, the reconciler, the page, two Envoys and the replicas: nothing is left of any command.
    whole = (
        live == {status["live"]["digest"]} == {state["live"]}
        and len(status["replicas"]) == status["declared"]["replicas"]
        and len(one.started) == 5 + len(status["replicas"])
    )
    invariant = f"declared, live and running agree {healed_s:.0f} s after the last kill; {_HEAL_LIMIT_S:g} s at most"
    return Result(43, "the fleet after them", injected, kills, int(not whole), invariant, whole)


def _replicas(one: DrilledFleet) -> list[str]:
    return [each["name"] for each in json.loads((one.root / "state.json").read_bytes())["replicas"]] or ["none"]
