"""Stage `evaluate`: the exported model, scored on the hold-out by the code that serves it, against baselines and the live model."""

from __future__ import annotations

import json
import shutil
from typing import Any

import numpy as np

from contract.errors import ModelRejectedError, Problem
from contract.files import canonical_json, write_atomically
from contract.manifest import HEADLINE
from pipelines import comparisons, measures, paths
from pipelines.evaluate import curves, gate, holdout, membership, report, slices
from pipelines.evaluate.holdout import Holdout
from pipelines.measures import Scores
from pipelines.params import Params


def run(params: Params) -> str:
    """Write metrics, plots, report and the gate's evidence, whatever the verdict.

    Raises:
        ModelRejectedError: the model did not pass the gate; with the reason.
    """
    training = json.loads(paths.TRAINING.read_bytes())
    held, members = holdout.load(params)
    scores = holdout.scores(params, held, training["prior"])
    champion = json.loads((paths.CHAMPION / "champion.json").read_bytes())
    checks = _checks(params, held, scores)
    approval = {
        "approved": all(check["passed"] for check in checks),
        "checks": checks,
        "champion": champion["digest"],
    }
    metrics = _metrics(params, held, scores)
    metrics["membership_inference"] = membership.inference(
        params.target.task,
        (members.outcomes, holdout.scores_of_run(members, training["prior"])),
        (held.outcomes, scores),
    )
    breakdown = slices.by_slice(params.target.task, held.table, params.evaluate.slices, held.outcomes, scores["model"])
    drawn = curves.curves(params.target, held.outcomes, scores["model"], training["importance"])
    shutil.rmtree(paths.PLOTS, ignore_errors=True)
    for name in curves.FIELDS:  # DVC warns of a file that dvc.yaml names and that is not there
        write_atomically(paths.PLOTS / f"{name}.csv", curves.to_csv(name, drawn.get(name, [])))
    write_atomically(paths.METRICS, canonical_json(metrics))
    write_atomically(paths.REPORTS / "slices.json", canonical_json(breakdown))
    write_atomically(paths.APPROVAL, canonical_json(approval))
    counts = json.loads(paths.COUNTS.read_bytes())
    page = report.render(params, metrics, approval, breakdown, drawn, counts, training)
    write_atomically(paths.EVALUATION, page.encode())
    return _verdict(params.target.task, metrics, checks)


def _checks(params: Params, held: Holdout, scores: dict[str, Scores]) -> list[dict[str, Any]]:
    def against(other: str) -> dict[str, Any]:
        found = comparisons.difference(
            params.target.task,
            held.outcomes,
            scores["model"],
            scores[other],
            held.clusters,
            resamples=params.evaluate.bootstrap,
            seed=params.train.seed,
        )
        return {**found, held.unit: int(held.clusters.max()) + 1}

    checks = [
        gate.better_than_prior(against("prior")),
        gate.better_than_linear(against("linear"), params.gates.linear_margin),
    ]
    if "champion" in scores:
        checks.append(gate.not_worse_than_live(against("champion"), params.gates.regression_margin))
    return checks


def _metrics(params: Params, held: Holdout, scores: dict[str, Scores]) -> dict[str, Any]:
    target, time = params.target, params.data.time
    measured = {name: measures.measure(target.task, held.outcomes, values) for name, values in scores.items()}
    metrics: dict[str, Any] = {
        **measured.pop("model"),
        "holdout": {
            "rows": len(held.outcomes),
            "unlabelled": held.unlabelled,
            **measures.describe(target.task, held.outcomes),
        },
        "against": measured,
    }
    if target.task == "multiclass":
        shares = np.bincount(held.outcomes, minlength=len(target.labels)) / len(held.outcomes)
        metrics["holdout"]["shares"] = dict(zip(target.labels, shares.tolist(), strict=True))
    if time is not None:
        metrics["by_month"] = slices.by_month(target.task, held.table[time], held.outcomes, scores["model"])
    return metrics


def _verdict(task: str, metrics: dict[str, Any], checks: list[dict[str, Any]]) -> str:
    failed = [check for check in checks if not check["passed"]]
    if failed:
        raise ModelRejectedError(
            f"the model is rejected: {len(failed)} of {len(checks)} checks failed; the live model stays. "
            f"Evidence: {paths.EVALUATION}",
            [Problem(None, None, gate.reason(check, task)) for check in failed],
        )
    key = HEADLINE[task]
    linear, prior = (metrics["against"][name][key] for name in ("linear", "prior"))
    return (
        f"{measures.NAMES[key][0]} {metrics[key]:.4f} (linear baseline {linear:.4f}, prior {prior:.4g}), "
        f"{len(checks)} checks passed"
    )
