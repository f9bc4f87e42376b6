"""A worse model is stopped by the judge of canaries, on a real fleet with callers; and whoever deployed it is told."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import ANY

from drills.fleet.canary import by_dag, judge
from drills.fleet.canary.worse import traffic, worse
from drills.fleet.fleets import DrilledFleet, fleets
from fleet.canary.controller import FILE_NAME
from harness.bundles import Bundle
from harness.waiting import until


def test_canary_with_errors_is_rolled_back_and_no_caller_sees_one(project: Path) -> None:
    with fleets(Bundle(project / "build" / "bundle")) as (one,):
        one.replica_port = 21300
        one.serve(1)
        bundle = one.put(worse(one.bundle, one.scratch / "worse", "5 % errors"))
        requests = traffic(one.bundle, one.ports[0], one.scratch / "traffic")
        waiting = ["deploy", bundle, "--wait", "--canary", "if-traffic", "--since", datetime.now(UTC).isoformat()]
        with judge.asking(one, requests, one.first, bundle, rate_per_s=150.0) as outcomes:
            killed = one.begin(*waiting)
            until(lambda: (one.root / FILE_NAME).exists(), "the trial", limit_s=120)
            killed.kill()  # as a worker that dies; the trial goes on
            killed.wait()
            code, said = _waited(one, waiting)
        assert (code, said["facts"]["verdict"]) == (65, "rolled back"), said
        assert "server errors" in said["facts"]["why"]
        assert set(outcomes) <= {"200", "503"}  # a busy machine may be overloaded; the canary's errors are 500
        status = one("status")
        assert (status["canary"], status["live"]["digest"]) == (None, one.first)
        verbs = [entry["verb"] for entry in map(json.loads, (one.root / "history.jsonl").read_text().splitlines())]
        assert verbs[-1] == "rollback"
        assert verbs.count("canary") == 1
        # The run is tried once more: its verdict stands, and no second trial begins. Another run asks no judge, for no request comes.
        assert _waited(one, waiting) == (65, said | {"seconds": ANY})
        assert one.run("status")[1]["canary"] is None
        code, said = _waited(one, ["deploy", one.second, "--wait", "--canary", "if-traffic"])
        assert (code, said["facts"]["verdict"], said["facts"]["digest"]) == (0, "deployed", one.second)
        assert "0.0 requests a second are too few" in said["facts"]["why"]


def test_deploy_task_fails_with_the_verdict_when_the_judge_rolls_back(project: Path) -> None:
    """Under a real scheduler. `python -m drills airflow` has a good one promoted too, which takes longer and depends on latencies."""
    bundle = Bundle(project / "build" / "bundle")
    (result,) = by_dag.by_dag(bundle, [by_dag.ERRORS], rate_per_s=150.0, replica_port=21600)
    assert result.holds, result.invariant


def _waited(one: DrilledFleet, arguments: list[str]) -> tuple[int, dict[str, Any]]:
    """Run a command that waits; return its exit code and its outcome."""
    command = [str(one.python), "-m", "fleet", *arguments, "--json"]
    done = subprocess.run(command, cwd=one.project, env=one.environment, capture_output=True, text=True, check=False)
    outcome = next(line for line in done.stdout.splitlines() if line.startswith('{"stage"'))
    return done.returncode, json.loads(outcome)
