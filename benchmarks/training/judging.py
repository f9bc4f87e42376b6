"""Judging a model: resamplings of a hold-out beside scikit-learn, and `evaluate` beside itself with the gates alone."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np

from benchmarks.results import Bar, Figure, figure
from harness import workspaces
from harness.workspaces import TWO_MONTHS, Cost
from pipelines.data.clusters import Clusters
from pipelines.statistics import comparisons
from pipelines.statistics.measures import Outcomes, Scores
from pipelines.statistics.tasks import JUDGEMENTS

_DAYS, _ROWS, _RESAMPLES = 31, 27_000, 10_000
_TIMED = 50  # resamplings by the peer; all of them would take minutes
_TURNS = 3
_GATES_ALONE: dict[str, dict[str, Any]] = {
    "evaluate": {"slices": [], "weak_slices": 0, "behaviour": []},
    "gates": {"slice_margin": None},
}


def resampling() -> list[Figure]:
    """Measure the difference in ROC-AUC of two models, resampled by day; the peer measures both on the rows of the drawn days."""
    random = np.random.default_rng(1)
    labels = (random.random(_ROWS) < 0.25).astype(np.int8)
    days = np.sort(random.integers(0, _DAYS, _ROWS))
    scores, others = labels * 0.3 + random.random(_ROWS), labels * 0.2 + random.random(_ROWS)
    started = time.perf_counter()
    comparisons.differences(JUDGEMENTS["logistic"], labels, scores, others, days, resamples=_RESAMPLES, seed=1)
    ours = time.perf_counter() - started
    theirs = _by_scikit_learn(labels, scores, others, days)
    peer = f"roc_auc_score of the drawn rows, {_TIMED} times, scaled to {_RESAMPLES:,}"
    return [
        figure(
            "resampling", ours, "s", peer=peer, peer_value=theirs, benchmark="resampling", bar=Bar("≤", 3, of="value")
        )
    ]


def _by_scikit_learn(labels: Outcomes, scores: Scores, others: Scores, days: Clusters) -> float:
    from sklearn.metrics import roc_auc_score

    random, rows_of = np.random.default_rng(1), [np.flatnonzero(days == day) for day in range(_DAYS)]
    started = time.perf_counter()
    for _ in range(_TIMED):
        rows = np.concatenate([rows_of[day] for day in random.integers(0, _DAYS, _DAYS)])
        for each in (scores, others):
            roc_auc_score(labels[rows], each[rows])
    return (time.perf_counter() - started) * _RESAMPLES / _TIMED


def judging() -> list[Figure]:
    """Measure the stage as `params.yaml` has it, and without slices and behaviour, in turns on the same two months."""
    workspace = workspaces.empty("judging", TWO_MONTHS)
    workspace.run("dvc", "repro", "evaluate")
    path = workspace.path / "params.yaml"
    whole = path.read_bytes()
    workspaces.change(path, _GATES_ALONE)
    alone = path.read_bytes()
    costs: dict[bytes, list[Cost]] = {whole: [], alone: []}
    for _ in range(_TURNS):
        for params, found in costs.items():
            path.write_bytes(params)
            found.append(workspace.run("python", "-m", "pipelines", "evaluate"))
    (cpu, bare_cpu), (peak, bare_peak) = (
        [median([getattr(cost, name) for cost in found]) for found in costs.values()] for name in ("cpu_s", "peak_mb")
    )
    peer = "gates alone"
    return [
        figure("evaluate", cpu, "CPU s", peer=peer, peer_value=bare_cpu, benchmark="judging", bar=Bar("≤", 2)),
        figure("evaluate_peak", peak, "MB", peer=peer, peer_value=bare_peak, benchmark="judging", bar=Bar("≤", 1.2)),
    ]
