"""The pipeline beside the bare library calls, DVC beside its own start-up, Airflow beside DVC. Every run's result is checked."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.results import Bar, Figure, OtherWorkError, figure
from benchmarks.training.airflow import Airflow, parse_times
from harness import PROJECT, interpreter, workspaces
from harness.workspaces import TWO_MONTHS, Cost, Workspace

ROUNDS = 3
REPRO = ("dvc", "--wait-for-lock", "repro")
BARE = "bare library calls"
BARE_STEPS = (
    *(("bare_data.py", step, sys.executable) for step in ("collect", "validate", "features")),
    ("bare_model.py", "train", str(interpreter("bench"))),  # the environment with the converters to ONNX
    *(("bare_model.py", step, sys.executable) for step in ("evaluate", "bundle")),
)
_TIMES, _BESIDE_S = 1.2, 4  # a scheduled run may take so many times as long as its stages, and so many seconds beside
_TOLERANCE = 5e-3  # of ROC-AUC: as many trees of other random numbers


def repro() -> list[Figure]:
    """Measure a cold `dvc repro` of all months beside the library calls that it needs, each step of those in a process of its own."""
    workspace = workspaces.empty("repro")
    ours = workspace.run(*REPRO)
    bare, evidence = _bare(workspace.path)
    _check_same_work(workspace, evidence)
    return [
        figure("repro", ours.wall_s, "s", peer=BARE, peer_value=bare.wall_s, benchmark="repro", bar=Bar("≤", 1.15)),
        figure("repro_cpu", ours.cpu_s, "CPU s", peer=BARE, peer_value=bare.cpu_s, benchmark="repro"),
    ]


def noop() -> list[Figure]:
    """Measure `dvc repro` without changes, beside `dvc status`, which looks at the same files, and the start of DVC itself."""
    workspace = workspaces.copied("repro")
    workspace.run(*REPRO)
    before = workspace.outputs()
    commands = {"repro": REPRO, "dvc status": ("dvc", "status"), "dvc --version": ("dvc", "--version")}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            times[name].append(workspace.run(*command).wall_s)
    if workspace.outputs() != before:
        raise OtherWorkError("`dvc repro` changed outputs though no input had changed")
    ours = median(times.pop("repro"))
    return [
        figure(
            f"noop_over_{name.split('-')[-1].split()[-1]}",
            ours,
            "s",
            peer=name,
            peer_value=median(taken),
            benchmark="noop",
        )
        for name, taken in times.items()
    ]


def airflow() -> list[Figure]:
    """Measure a run of `train_and_evaluate` on two months in a real scheduler, beside `dvc repro` of the same stages; both cold.

    Then runs that have nothing to do, for which each makes a workspace and takes all results from the cache, and the DAG files alone.
    """
    plain, site = (workspaces.empty(name, TWO_MONTHS) for name in ("plain", "airflow"))
    month = TWO_MONTHS["data"]["months"][-1]
    try:
        alone = plain.run(*REPRO, "evaluate")
        unchanged = median([plain.run(*REPRO, "evaluate").wall_s for _ in range(ROUNDS)])
        with Airflow(site) as running:
            wall_s = running.time_run("train_and_evaluate", partition_key=month)
            idle_s = median([running.time_run("train_and_evaluate", conf={"through": month}) for _ in range(ROUNDS)])
        locks = sorted((site.path / "var/runs/locks").glob("train_and_evaluate.*.dvc.lock"))
        for lock in locks:
            if differing := plain.outputs().items() ^ site.outputs(lock).items():
                paths = sorted({path for path, _ in differing})
                raise OtherWorkError(f"Airflow's run and `dvc repro` gave different {', '.join(paths)}")
        if len(locks) != 1 + ROUNDS:
            raise OtherWorkError(f"{1 + ROUNDS} runs of Airflow left {len(locks)} records")
        sdk_s, dags_s = parse_times(site)
    finally:
        for workspace in (site, plain):
            shutil.rmtree(workspace.path, ignore_errors=True)
    evaluate = "dvc repro evaluate"
    allowed_s = _TIMES * alone.wall_s + _BESIDE_S
    return [
        figure("airflow", wall_s, "s", peer=evaluate, peer_value=alone.wall_s, benchmark="airflow"),
        figure(
            "airflow_allowed",
            wall_s,
            "s",
            peer=f"{_TIMES} × {evaluate} + {_BESIDE_S} s",
            peer_value=allowed_s,
            benchmark="airflow",
            bar=Bar("≤", 1),
        ),
        figure(
            "airflow_noop",
            idle_s,
            "s",
            peer=f"{evaluate} without changes",
            peer_value=unchanged,
            benchmark="airflow",
            bar=Bar("≤", 5, of="value"),
        ),
        figure(
            "airflow_parse",
            dags_s,
            "s",
            peer="import airflow.sdk",
            peer_value=sdk_s,
            benchmark="airflow",
            bar=Bar("≤", 0.3, of="value"),
        ),
    ]


def _bare(workspace: Path) -> tuple[Cost, dict[str, Any]]:
    """Return the sum over all steps, and the evidence of their work that they print."""
    total = Cost(0.0, 0.0)
    evidence: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as scratch:
        shutil.copyfile(workspace / "params.yaml", Path(scratch, "params.yaml"))
        rounds = json.loads((workspace / "models/training.json").read_bytes())["rounds"]
        Path(scratch, "rounds.json").write_text(json.dumps(rounds))
        shutil.copyfile(PROJECT / "requirements/serving.txt", Path(scratch, "serving.txt"))
        environment = workspaces.environment() | {"BENTOML_HOME": str(Path(scratch, "home"))}
        for script, step, python in BARE_STEPS:
            command = (python, str(PROJECT / "benchmarks/peers/pipeline" / script), step)
            cost, printed = workspaces.timed(command, cwd=Path(scratch), env=environment)
            total += cost
            evidence |= json.loads(printed.splitlines()[-1])
    return total, evidence


def _check_same_work(workspace: Workspace, evidence: dict[str, Any]) -> None:
    """Check that both sides did the same work.

    Raises:
        OtherWorkError: their checks, rounds, rows or scores differ.
    """
    validation, training, metrics = (
        json.loads((workspace.path / name).read_bytes())
        for name in ("reports/validation.json", "models/training.json", "metrics.json")
    )
    ours = {
        # Rows split off and distributions are counted by us, not by Great Expectations.
        "expectations": sum(
            entry["type"].startswith(("expect_", "unexpected_"))
            for month in validation.values()
            for entry in month["expectations"]
        ),
        "failed": 0,
        "training_rows": training["rows"],
        "rounds": training["rounds"],
    }
    theirs = {name: evidence[name] for name in ours}
    if ours != theirs or abs(metrics["roc_auc"] - evidence["roc_auc"]) > _TOLERANCE:
        raise OtherWorkError(
            f"ours: {ours}, ROC-AUC {metrics['roc_auc']}; the bare calls: {theirs}, {evidence['roc_auc']}"
        )
