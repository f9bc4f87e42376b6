"""The drill of a fleet that heals: processes of every kind killed at random, the reconciler and commands included, under good callers."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable

from drills.fleet.fleets import DrilledFleet, fleets
from drills.fleet.injections import counted, under_load
from drills.results import Result
from fleet.supervisor.processes import send
from harness.bundles import Bundle

_KILLING_S = 60.0
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.3, 1.5
_HEAL_LIMIT_S = 60.0
_HANDOVER_S = 20.0  # after supervisord, Envoy is handed over to a successor, which a second kill would cut short


def chaos(bundle: Bundle, seed: int) -> list[Result]:
    """Kill processes at random for a minute; not Envoy, whose callers at that moment cannot be helped."""
    print(f"  seed {seed}")
    with fleets(bundle) as (one,):
        return _whatever(one, random.Random(seed))


def _whatever(one: DrilledFleet, draw: random.Random) -> list[Result]:
    """Kill a replica, supervisord, the reconciler, its repairs, or a running command, one after the other, at random moments."""
    one.serve(3)
    killed: Counter[str] = Counter()
    commands: list[subprocess.Popen[bytes]] = []
    spared_until = 0.0
    victims: dict[str, Callable[[], set[int]]] = {
        "replica": lambda: one.pids(draw.choice(_replicas(one))),
        "supervisord": lambda: {one.supervisord} if time.monotonic() > spared_until else set(),
        "reconciler or its repair": lambda: set(draw.sample(sorted(one.pids("reconciler")), k=1)),
        "command": lambda: {each.pid for each in commands if each.poll() is None},
    }
    with under_load(one, one.first, one.second) as found:
        ends = time.monotonic() + _KILLING_S
        while time.monotonic() < ends:
            if not any(each.poll() is None for each in commands):
                asked = draw.choice([("scale", "3"), ("scale", "4"), ("deploy", one.first), ("deploy", one.second)])
                commands.append(one.begin(*asked))
            name = draw.choice(list(victims))
            pids = victims[name]()
            send(pids, signal.SIGKILL)
            killed[name] += bool(pids)
            if name == "supervisord" and pids:
                spared_until = time.monotonic() + _HANDOVER_S
            time.sleep(draw.uniform(_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S))
        for each in commands:
            each.wait()
        healed_s = one.wait_until_ready(_HEAL_LIMIT_S)
    injected = "kill -9, at random, of " + ", ".join(f"{name} ({count})" for name, count in sorted(killed.items()))
    print(f"  {injected}; {len(commands)} commands; healed {healed_s:.1f} s after the last kill")
    return [
        counted(43, "processes killed at random", injected, found),
        _healed(one, injected, sum(killed.values()), healed_s),
    ]


def _healed(one: DrilledFleet, injected: str, kills: int, healed_s: float) -> Result:
    """Compare what is declared, what the store says and what runs."""
    status = one("status")
    state = json.loads((one.root / "state.json").read_bytes())
    live = {each["digest"] for each in status["replicas"]}
    # supervisord, the reconciler, the page, Envoy and the replicas: nothing is left of any command.
    whole = (
        live == {status["live"]["digest"]} == {state["live"]}
        and len(status["replicas"]) == status["declared"]["replicas"]
        and len(one.started) == 4 + len(status["replicas"])
    )
    invariant = f"declared, live and running agree {healed_s:.0f} s after the last kill; {_HEAL_LIMIT_S:g} s at most"
    return Result(43, "the fleet after them", injected, kills, int(not whole), invariant, whole)


def _replicas(one: DrilledFleet) -> list[str]:
    return [each["name"] for each in json.loads((one.root / "state.json").read_bytes())["replicas"]] or ["none"]
