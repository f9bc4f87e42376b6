"""The judge's verdict as the outcome of `bundle_and_deploy`, under a real scheduler with a real fleet and callers.

The pipeline is a script that names a bundle of the store: this is about what comes after it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from benchmarks.training.airflow import Airflow, Task
from drills.fleet.canary.judge import RATE_PER_S, asking
from drills.fleet.canary.worse import traffic, worse
from drills.fleet.fleets import DrilledFleet, fleets
from drills.results import Result
from harness import workspaces
from harness.bundles import Bundle

EQUAL, ERRORS = "equal", "5 % errors"
_DAG = "bundle_and_deploy"
_LIMIT_S = 600.0
# In place of the pipeline's interpreter; every command's outcome is that of a publication.
_PIPELINE = """#!/bin/sh
printf '{"stage": "publish", "state": "ran", "facts": {"digest": "%s"}}\\n' "$(cat {published})"
"""


def by_dag(
    bundle: Bundle, kinds: Sequence[str] = (ERRORS, EQUAL), rate_per_s: float = RATE_PER_S, replica_port: int = 26100
) -> list[Result]:
    """Deploy a bundle of each kind through the DAG under callers, the worse ones first."""
    site = workspaces.empty("by-dag")
    published, pipeline = site.path / "published", site.path / "pipeline"
    pipeline.write_text(_PIPELINE.replace("{published}", shlex.quote(str(published))))
    pipeline.chmod(0o755)
    with fleets(bundle) as (one,):
        one.replica_port = replica_port
        one.serve(1)
        _write_command(one, site.path / "bin" / "fleet")
        requests = traffic(one.bundle, one.ports[0], one.scratch / "traffic")
        digests = {kind: one.second if kind == EQUAL else _put_worse(one, kind) for kind in kinds}
        found = []
        with (
            Airflow(site, BULKHEAD_PIPELINE_PYTHON=str(pipeline)) as airflow,
            asking(one, requests, one.first, *digests.values(), rate_per_s=rate_per_s),
        ):
            for kind, digest in digests.items():
                published.write_text(digest)
                run = airflow.run(_DAG, _LIMIT_S, conf={"through": "2013-01", "canary": "always"})
                found.append(_result(one, kind, digest, airflow.task(run, "deploy")))
        return found


def _write_command(one: DrilledFleet, path: Path) -> None:
    """Write `bin/fleet` of a project whose fleet this is."""
    given = [f"{name}={shlex.quote(value)}" for name, value in one.environment.items() if name.startswith("BULKHEAD")]
    command = f'{shlex.quote(str(one.python))} -m fleet "$@"'
    path.write_text(f"#!/bin/sh\ncd {shlex.quote(str(one.project))}\nexec env {' '.join(given)} {command}\n")


def _put_worse(one: DrilledFleet, kind: str) -> str:
    return one.put(worse(one.bundle, one.scratch / "worse", kind))


def _result(one: DrilledFleet, kind: str, digest: str, task: Task) -> Result:
    """Judge the task: a verdict is its end, its outcome and, where it fails, its message."""
    wanted, state = ("promoted", "success") if kind == EQUAL else ("rolled back", "failed")
    verdict, why = task.facts.get("verdict"), task.facts.get("why", "")
    live = one.run("status")[1]["live"]["digest"]
    held = (verdict, task.state, task.attempts, task.facts.get("digest")) == (wanted, state, 1, digest)
    held &= (live == digest) == (kind == EQUAL)
    held &= kind == EQUAL or f"{verdict}: {why}: exit code 65" in task.log
    print(f"  {digest[:8]} {verdict} ({why}); deploy {task.state} at attempt {task.attempts}", flush=True)
    told = f"`deploy` ends at once with the verdict `{wanted}` in its outcome" + (
        "" if kind == EQUAL else " and its message"
    )
    return Result(
        30, f"through the DAG, {kind}", "a bundle deployed by bundle_and_deploy", 1, int(not held), told, held
    )
