"""The drill of scheduled runs: under a real scheduler, twelve months forwards, then sixteen at once, to the bytes of live runs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.training.airflow import Airflow
from drills.results import Result
from drills.training import orders
from drills.training.side_by_side import side_by_side
from harness.workspaces import Workspace
from pipelines.runs.workspaces.workspace import safe_name

_DAG, _POOL = "train_and_evaluate", "backfills"
_RUNS, _MONTHS = 16, 12
_LIMIT_S = 3600.0
_Digests = Mapping[str, Mapping[str, str]]  # by month and path


def airflow() -> list[Result]:
    """Run both drills, of runs side by side and under a scheduler; the second one's digests must be those of the first one."""
    months = orders.ALL[2 : 2 + _RUNS]  # a model needs three months
    results, alone = side_by_side(months)
    return [*results, *scheduled(months, alone)]


def scheduled(months: Sequence[str], wanted: _Digests) -> list[Result]:
    """Backfill these months in a project with a cache of its own; `wanted` has the digests of each month's run elsewhere.

    The first twelve run one after the other. Then all are asked for and run at once: those twelve find their results, the others work.
    """
    project = orders.project("backfill")
    with Airflow(project) as running:
        forwards = running.backfill(_DAG, months[0], months[_MONTHS - 1], _LIMIT_S)
        results = [_in_order(forwards, months[:_MONTHS]), _same(project, forwards, wanted, "twelve months forwards")]
        running.resize(_POOL, len(months))
        at_once = running.backfill(_DAG, months[0], months[-1], _LIMIT_S, runs=len(months), reprocess="completed")
    results += [_side_by_side(at_once, months), _same(project, at_once, wanted, "sixteen months at once")]
    return results


def _in_order(runs: Sequence[Mapping[str, Any]], months: Sequence[str]) -> Result:
    order, failed = [run["partition_key"] for run in runs], _failed(runs)
    overlapping = [
        after["partition_key"] for before, after in itertools.pairwise(runs) if before["end_date"] > after["start_date"]
    ]
    print(f"one after the other: {order}; failed {failed}, begun before the one before had ended {overlapping}")
    wrong = len(failed) + len(overlapping) + (order != list(months))
    injected = f"backfill of {len(months)} months"
    return Result(9, "backfill", injected, len(months), wrong, "forwards, none fails", not wrong)


def _side_by_side(runs: Sequence[Mapping[str, Any]], months: Sequence[str]) -> Result:
    keys, failed = [run["partition_key"] for run in runs], _failed(runs)
    most = max(sum(one["start_date"] <= run["start_date"] < one["end_date"] for one in runs) for run in runs)
    print(f"at once: {len(runs)} runs, at most {most} in progress at a time; failed {failed}")
    wrong = len(failed) + (sorted(keys) != list(months))
    injected = f"backfill of {len(months)} months, all at once, completed ones too"
    return Result(9, "runs at once under a scheduler", injected, len(months), wrong, "all finish", not wrong)


def _same(project: Workspace, runs: Sequence[Mapping[str, Any]], wanted: _Digests, injected: str) -> Result:
    """Compare what the runs recorded with the digests of the same months elsewhere."""
    different = []
    for run in runs:
        name = safe_name(f"{_DAG}.{run['dag_run_id']}")
        lock = project.path / "var/runs/locks" / f"{name}.dvc.lock"
        found = project.outputs(lock) if lock.exists() else {}
        # The runs elsewhere have made bundles too.
        elsewhere = {path: digest for path, digest in wanted.get(run["partition_key"], {}).items() if path in found}
        if not found or found != elsewhere:
            different.append(run["partition_key"])
    print(f"{injected}: the records of {len(runs) - len(different)} of {len(runs)} runs have the digests of live runs")
    said = "those of live runs, each run with a record of its own"
    return Result(9, "digests of a backfill", injected, len(runs), len(different), said, not different)


def _failed(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [run["partition_key"] for run in runs if run["state"] != "success"]
