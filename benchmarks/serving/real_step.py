"""A step of ten times on a real fleet of this machine, whose autoscaler has a target low enough to need several replicas."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measures import percentile
from drills.callers.good import Answers, CheckedConnection
from drills.fleet.fleets import DrilledFleet, fleets
from drills.under_load import repeated
from fleet.configuration.settings import Settings
from fleet.envoy.proxy import Proxy
from fleet.supervisor import unix_http
from harness.bundles import Bundle
from harness.load.open_loop import OpenLoad, arrivals
from harness.waiting import until

_RATE_PER_S = 50.0  # before the step; a machine of two cores carries ten times as many, beside the starts of replicas
_BEFORE_S, _AFTER_S = 25.0, 30.0
_REPLICAS = "{min: 2, max: 6, in_flight: 0.05}"
_POLL_S = 0.05
_CONNECTIONS = 1000


@dataclass(frozen=True)
class StepOutcome:
    """The outcome of a step.

    Attributes:
        failed: requests without the right answer.
        capacity_s: from the step until a new replica answered a request; infinite if none did.
        replicas: those that got requests at the end.
        p99_ms: of the requests after the step.
    """

    asked: int
    failed: int
    capacity_s: float
    replicas: int
    p99_ms: float


@dataclass
class _Watched:
    """When each replica that runs was first seen to have had a request."""

    proxy: Proxy
    first: dict[str, float] = field(default_factory=dict)

    def look(self) -> None:
        """Note the replicas that have had requests."""
        with suppress(*unix_http.FAILURES, ValueError):
            asked = {Path(path).stem for (_, path), host in self.proxy.hosts().items() if host.requests}
            # A name is used again after its replica has been removed.
            self.first = {name: self.first.get(name, time.perf_counter()) for name in asked}


def real_step(bundle: Bundle, times: float) -> StepOutcome:
    """Run the step: `times` as many requests a second after some seconds."""
    with fleets(bundle) as (one,):
        one.serve(2)
        _declare(one, _REPLICAS)
        answers = Answers(one.bundle, rows=1, versions=[one.first])
        due = arrivals(_RATE_PER_S, _BEFORE_S, seed=1)
        due += [_BEFORE_S + each for each in arrivals(times * _RATE_PER_S, _AFTER_S, seed=2)]
        load = OpenLoad(lambda: CheckedConnection(one.ports[0], answers), answers.requests, _CONNECTIONS)
        load.counted_from_s = _BEFORE_S
        watched = _Watched(Proxy(Settings(store="", verify_keys=tuple, root=one.root)))
        with repeated(watched.look, _POLL_S):
            step_at = time.perf_counter() + _BEFORE_S
            load.run(due)
        right = load.outcomes.get("200", [])
    new = [at - step_at for at in watched.first.values() if at > step_at]
    asked = sum(each >= _BEFORE_S for each in due)
    return StepOutcome(
        asked=asked,
        failed=asked - len(right),
        capacity_s=min(new, default=float("inf")),
        replicas=len(watched.first),
        p99_ms=percentile(right, 0.99) if right else float("inf"),
    )


def _declare(one: DrilledFleet, replicas: str) -> None:
    """Let `fleet.yaml` want other replicas, and wait until the autoscaler decides by it."""
    path = one.root / "fleet.yaml"
    path.write_text(re.sub(r"(?m)^replicas: .*$", f"replicas: {replicas}", path.read_text()))
    told = one.root / "scaling.json"
    until(lambda: told.is_file() and '"min"' in told.read_text(), "the autoscaler to decide")
