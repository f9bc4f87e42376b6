"""A worse model is stopped by the judge of canaries, on a real fleet with callers."""

from __future__ import annotations

import json
from pathlib import Path

from drills.fleet.canary import judge
from drills.fleet.canary.worse import traffic, worse
from drills.fleet.fleets import fleets
from harness.bundles import Bundle


def test_canary_with_errors_is_rolled_back_and_no_caller_sees_one(project: Path) -> None:
    with fleets(Bundle(project / "build" / "bundle")) as (one,):
        one.replica_port = 21300
        one.serve(1)
        bundle = one.put(worse(one.bundle, one.scratch / "worse", "5 % errors"))
        requests = traffic(one.bundle, one.ports[0], one.scratch / "traffic")
        with judge.asking(one, requests, one.first, bundle, rate_per_s=150.0) as outcomes:
            end = judge.rolled_out(one, bundle)
        assert end.kind == "roll back", end.why
        assert set(outcomes) <= {"200", "503"}  # a busy machine may be overloaded; the canary's errors are 500
        status = one("status")
        assert (status["canary"], status["live"]["digest"]) == (None, one.first)
        verbs = [entry["verb"] for entry in map(json.loads, (one.root / "history.jsonl").read_text().splitlines())]
        assert verbs[-1] == "rollback"
