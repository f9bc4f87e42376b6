"""`python -m drills [DRILL …]`: inject faults, print the counts, write drills/results.json; ends with 1 if one won."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable

from contract import command_line
from drills import results, stops
from drills.answers import one_answer
from drills.callers import floods, overload
from drills.fleet import chaos, contention, faults, hosts, shadows
from drills.fleet.canary import by_dag, judge
from drills.hostile import drill, fuzzing, wall
from drills.training import coverage, kills, scheduled, slices, verdicts
from drills.training.cgroup2 import drill as virtual
from harness.bundles import Bundle, find

_DRILLS: dict[str, Callable[[Bundle, argparse.Namespace], list[results.Result]]] = {
    "hostile": lambda bundle, asked: drill.hostile(bundle, asked.requests, asked.seed),
    "fuzz": lambda bundle, asked: fuzzing.fuzz(bundle, asked.seed),
    "wall": lambda bundle, _: wall.wall(bundle),
    "slow": lambda bundle, _: floods.slow(bundle),
    "bodies": lambda bundle, _: floods.bodies(bundle),
    "overload": lambda bundle, _: overload.overload(bundle),
    "stop": lambda bundle, _: stops.stops(bundle),
    "one_answer": lambda bundle, asked: one_answer.one_answer(bundle, asked.seed),
    "fleet": lambda bundle, _: faults.fleet(bundle),
    "chaos": lambda bundle, asked: chaos.chaos(bundle, asked.seed),
    "contention": lambda bundle, _: contention.contention(bundle),
    "cgroup2": lambda *_: virtual.cgroup2(),
    "shadow": lambda bundle, _: shadows.shadow(bundle),
    "judge": lambda bundle, _: judge.judge(bundle),
    "hosts": lambda bundle, _: hosts.several(bundle),
    "kills": lambda _, asked: kills.kills(asked.seed),
    "airflow": lambda bundle, _: [*scheduled.airflow(), *by_dag.by_dag(bundle)],
    "verdicts": lambda _, asked: [
        *verdicts.verdicts(asked.seed),
        *slices.results(verdicts.Month(), verdicts.REPLICATIONS, asked.seed),
        *coverage.results(verdicts.Month(), verdicts.REPLICATIONS, asked.seed),
    ],
}


def main(arguments: list[str] | None = None) -> int:
    """Run the named drills; return 1 if an invariant broke."""
    parser = command_line.parser(prog="python -m drills", description=__doc__)
    parser.add_argument("drill", nargs="*", help=f"{', '.join(_DRILLS)} (default: all)")
    parser.add_argument("--requests", type=int, default=100_000, help="number of hostile requests (default: 100,000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of hostile requests and of moments (default: 1)")
    asked = parser.parse_args(arguments)
    if unknown := [name for name in asked.drill if name not in _DRILLS]:
        parser.error(f"there is no drill {unknown[0]!r}; there are {', '.join(_DRILLS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # raises, so that `finally` clauses end the servers
    bundle = find()
    found = {}
    for name in asked.drill or _DRILLS:
        print(f"── {name}", flush=True)
        found[name] = _DRILLS[name](bundle, asked)
        print(results.table(found[name]), flush=True)
    results.write(found)
    print(f"\nwritten to {results.FILE}")
    return 0 if all(entry.holds for entries in found.values() for entry in entries) else 1


if __name__ == "__main__":
    sys.exit(main())
