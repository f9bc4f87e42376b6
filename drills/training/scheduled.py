"""The drill of scheduled runs: a backfill of twelve months under a real scheduler, forwards, to the bytes of runs that came one by one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from benchmarks.training.airflow import Airflow
from drills.results import Result
from drills.training import orders
from drills.training.side_by_side import side_by_side
from pipelines.runs.workspace import safe_name

_DAG = "train_and_evaluate"
_RUNS, _MONTHS = 16, 12
_LIMIT_S = 3600.0


def airflow() -> list[Result]:
    """Run both drills, of runs side by side and of a backfill; the second one's digests must be those of the first one."""
    months = orders.ALL[2 : 2 + _RUNS]  # a model needs three months
    results, alone = side_by_side(months)
    return [*results, *backfill(months[:_MONTHS], alone)]


def backfill(months: Sequence[str], wanted: Mapping[str, Mapping[str, str]]) -> list[Result]:
    """Backfill these months in a project with a cache of its own; `wanted` has the digests by path of each month's run elsewhere."""
    project = orders.project("backfill")
    with Airflow(project) as running:
        runs = running.backfill(_DAG, months[0], months[-1], _LIMIT_S)
    failed = [run["partition_key"] for run in runs if run["state"] != "success"]
    order = [run["partition_key"] for run in runs]
    # Forwards, and each after the one before.
    overlapping = [
        after["partition_key"] for before, after in itertools.pairwise(runs) if before["end_date"] > after["start_date"]
    ]
    different = []
    for run in runs:
        name = safe_name(f"{_DAG}.{run['dag_run_id']}")
        found = project.outputs(project.path / "var/runs/locks" / f"{name}.dvc.lock")
        # The runs elsewhere have made bundles too.
        elsewhere = {path: digest for path, digest in wanted.get(run["partition_key"], {}).items() if path in found}
        if found != elsewhere:
            different.append(run["partition_key"])
    print(f"{len(runs)} months: {order}; failed {failed}, overlapping {overlapping}, different {different}")
    count, injected = len(months), f"backfill of {len(months)} months"
    disorder = 0 if order == sorted(months) else 1
    return [
        Result(
            9,
            "backfill",
            injected,
            count,
            len(failed) + disorder + len(overlapping),
            "forwards, none fails",
            not failed and not overlapping and not disorder,
        ),
        Result(
            9,
            "digests of a backfill",
            injected,
            count,
            len(different),
            "those of runs one by one",
            not different and len(runs) == count,
        ),
    ]
