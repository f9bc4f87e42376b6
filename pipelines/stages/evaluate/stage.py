"""Stage `evaluate`: the exported model, scored on the hold-out by the code that serves it, against baselines and the live model."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import ModelRejectedError, Problem
from contract.files import canonical_json, write_atomically
from contract.schema.tasks import TASKS
from pipelines import paths
from pipelines.params.params import Params, TargetParams
from pipelines.stages.evaluate import curves, gate, gates, holdout, live, membership, report, slices
from pipelines.stages.evaluate.gates import Evidence
from pipelines.stages.evaluate.holdout import Holdout
from pipelines.stages.evaluate.live import Live
from pipelines.statistics import comparisons, measures
from pipelines.statistics.measures import Scores
from pipelines.statistics.tasks import Judgement, judgement


def run(params: Params) -> str:
    """Write metrics, plots, report and the evidence of the gates, whatever the verdict.

    Raises:
        ModelRejectedError: a check failed, or a person has to decide; with the reasons.
    """
    threading.Thread(target=_import_libraries).start()  # a second of one core, beside the scoring
    training = json.loads(paths.TRAINING.read_bytes())
    champion, suspects = live.champion(), json.loads(paths.SCREENING.read_bytes())["suspects"]
    data, target, judged = params.data, params.target, judgement(params.target)
    held, members = holdout.load(data, target, params.split, params.features, champion["learned"], params.train.seed)
    scores = holdout.scores(held, training["prior"])
    beside = live.judge(champion["digest"], data, target, params.features, params.serving.deprecated, held)
    if beside and beside.scores is not None and beside.unseen is not None and beside.unseen.all():
        scores["champion"] = beside.scores
    metrics = _metrics(target, data.time, held, scores)
    compare = partial(_compared, held, judged, resamples=params.evaluate.bootstrap, seed=params.train.seed)
    checks = gates.checks(_evidence(compare, scores, beside, metrics, training.get("splits")), params.gates)
    approval = {
        "verdict": gate.verdict(checks),
        "approved": gate.verdict(checks) == "approved",
        "checks": checks,
        "champion": champion["digest"],
        "headline": judged.headline,
        "learned": held.rule,
        "breaks": list(beside.breaks) if beside else [],
        "weak": gate.weakness(checks, judged),
        "suspects": {name: evidence for name, evidence in suspects.items() if name not in params.gates.reviewed},
    }
    metrics["checks"] = gate.counts(checks)
    metrics["membership_inference"] = membership.inference(
        judged,
        (members.outcomes, holdout.scores(members, training["prior"])),
        (held.outcomes, scores),
    )
    breakdown = slices.by_slice(judged, held.table, params.evaluate.slices, held.outcomes, scores["model"])
    drawn = curves.curves(target, held.outcomes, scores["model"], training["importance"])
    shutil.rmtree(paths.PLOTS, ignore_errors=True)
    for name in curves.FIELDS:  # DVC warns of a missing file that dvc.yaml names
        write_atomically(paths.PLOTS / f"{name}.csv", curves.to_csv(name, drawn.get(name, [])))
    write_atomically(paths.METRICS, canonical_json(metrics))
    write_atomically(paths.REPORTS / "slices.json", canonical_json(breakdown))
    write_atomically(paths.APPROVAL, canonical_json(approval))
    counts = json.loads(paths.COUNTS.read_bytes())
    page = report.render(params, metrics, approval, breakdown, drawn, counts, training)
    write_atomically(paths.EVALUATION, page.encode())
    return _verdict(judged, metrics, approval)


def _import_libraries() -> None:
    import matplotlib.backends.backend_svg  # noqa: F401
    import sklearn.metrics  # noqa: F401


def _evidence(
    compare: Callable[..., dict[str, Any]],
    scores: dict[str, Scores],
    beside: Live | None,
    measured: dict[str, Any],
    splits: int | None,
) -> Evidence:
    everything = np.ones(len(scores["model"]), np.bool_)
    against = {name: compare(scores["model"], scores[name], everything) for name in ("prior", "linear")}
    uncalibrated = (
        compare(scores["model"], scores["uncalibrated"], everything, by=comparisons.log_loss_difference)
        if "uncalibrated" in scores
        else None
    )
    alone = Evidence(measured, against, None, None, splits, uncalibrated)
    if beside is None:
        return alone
    if beside.scores is None or beside.unseen is None:
        return replace(alone, not_compared=(beside.digest, beside.because))
    found = compare(scores["model"], beside.scores, beside.unseen)
    if not beside.unseen.all():
        found["unseen"] = float(beside.unseen.mean())
    return replace(alone, live=found)


def _compared(
    held: Holdout,
    judged: Judgement,
    scores: Scores,
    others: Scores,
    rows: NDArray[np.bool_],
    *,
    resamples: int,
    seed: int,
    by: Callable[..., dict[str, float]] = comparisons.difference,
) -> dict[str, Any]:
    """Return the paired difference on these rows of the hold-out, and the number of clusters behind its bound."""
    clusters = np.unique(held.clusters[rows], return_inverse=True)[1]
    found = by(judged, held.outcomes[rows], scores[rows], others[rows], clusters, resamples=resamples, seed=seed)
    return {**found, held.unit: int(clusters.max()) + 1}


def _metrics(target: TargetParams, time: str | None, held: Holdout, scores: dict[str, Scores]) -> dict[str, Any]:
    judged = judgement(target)
    measured = {name: judged.measure(held.outcomes, values) for name, values in scores.items()}
    metrics: dict[str, Any] = {
        **measured.pop("model"),
        "holdout": {
            "rows": len(held.outcomes),
            "unlabelled": held.unlabelled,
            **measures.describe(judged.form, held.outcomes),
        },
        "against": measured,
    }
    if TASKS[target.task].has_many_labels:
        shares = np.bincount(held.outcomes, minlength=len(target.labels)) / len(held.outcomes)
        metrics["holdout"]["shares"] = dict(zip(target.labels, shares.tolist(), strict=True))
    if TASKS[target.task].has_quantiles:
        metrics["quantiles"] = measures.of_quantiles(target.quantiles, held.outcomes, scores["model"])
    if time is not None:
        metrics["by_month"] = slices.by_month(judged, held.table[time], held.outcomes, scores["model"])
    return metrics


def _verdict(judged: Judgement, metrics: dict[str, Any], approval: dict[str, Any]) -> str:
    checks, digest = approval["checks"], approval["champion"]
    if approval["verdict"] == "rejected":
        failed = [check for check in checks if check["verdict"] == gate.FAILED]
        raise ModelRejectedError(
            f"the model is rejected: {len(failed)} of {len(checks)} checks failed; the live model stays. "
            f"Evidence: {paths.EVALUATION}{_said(approval)}",
            [Problem(None, None, gate.reason(check, judged)) for check in failed],
        )
    if approval["verdict"] == "held":
        open_ = [check for check in checks if check["verdict"] != gate.PASSED and not check.get("accepted")]
        raise ModelRejectedError(
            f"the model is held until a person decides: {len(open_)} of {len(checks)} checks did not decide; the live model stays. "
            f"Evidence: {paths.EVALUATION}{_said(approval)}",
            [
                Problem(None, None, f"{gate.reason(check, judged)}. To go on: {gate.remedy(check, digest)}")
                for check in open_
            ],
        )
    key = judged.headline
    linear, prior = (metrics["against"][name][key] for name in ("linear", "prior"))
    return (
        f"{measures.MEASURES[key].title} {metrics[key]:.4f} (linear baseline {linear:.4f}, prior {prior:.4g}), "
        f"{gate.summary(checks, digest)}{_said(approval)}"
    )


def _said(approval: dict[str, Any]) -> str:
    """Return warnings that no check covers, each on a line of its own."""
    said = list(approval["weak"])
    said += [f"suspected leak: {name}, {evidence}" for name, evidence in approval["suspects"].items()]
    said += [f"breaks callers of the live model: {what}" for what in approval["breaks"]]
    return "".join(f"\n  {line}" for line in said)
