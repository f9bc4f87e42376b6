"""A search of twenty trials beside twenty trainings with the same settings, each by `dvc repro train`."""

from __future__ import annotations

import json
import shutil
from typing import Any

from benchmarks.results import Bar, Figure, OtherWorkError, figure
from benchmarks.training.pipeline import REPRO
from harness import workspaces
from harness.workspaces import TWO_MONTHS, Cost, Workspace

TRIALS = 20


def search() -> list[Figure]:
    """Measure both on two months whose features are there: the search with the training that applies it, and the trainings."""
    workspace = workspaces.empty("search", TWO_MONTHS)
    try:
        workspace.run(*REPRO, "screen")
        workspaces.change(workspace.path / "params.yaml", {"tune": {"trials": TRIALS}})
        ours = workspace.run(*REPRO, "train")
        trials = json.loads((workspace.path / "models/tuning.json").read_bytes())["trials"]
        peer = Cost(0.0, 0.0)
        for trial in trials:
            peer += _trained(workspace, trial)
    finally:
        shutil.rmtree(workspace.path, ignore_errors=True)
    name, bar = f"{len(trials)} × dvc repro train", Bar("≤", 0.6)
    return [
        figure("search", ours.wall_s, "s", peer=name, peer_value=peer.wall_s, benchmark="search", bar=bar),
        figure("search_cpu", ours.cpu_s, "CPU s", peer=name, peer_value=peer.cpu_s, benchmark="search"),
    ]


def _trained(workspace: Workspace, trial: dict[str, Any]) -> Cost:
    """Train with the settings of a trial; return the cost.

    Raises:
        OtherWorkError: the training stopped at another round than the trial.
    """
    changes = {"tune": {"trials": 0}, "train": trial["parameters"]}
    workspaces.copied("search", {**TWO_MONTHS, **changes})
    shutil.rmtree(
        workspace.path / "var/checkpoints", ignore_errors=True
    )  # the search's own training may have left some
    cost = workspace.run(*REPRO, "train")
    rounds = json.loads((workspace.path / "models/training.json").read_bytes())["rounds"]
    if trial["loss"] is not None and rounds != trial["rounds"]:
        raise OtherWorkError(f"{trial['parameters']}: {rounds} rounds, {trial['rounds']} in the search")
    return cost
