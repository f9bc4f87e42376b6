"""Calibration of the model on the hold-out: its reliability, its slope, and whether the validation rows would have mended it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipelines.stages.evaluate.gates.conditions import CALIBRATION, LOG_LOSS
from pipelines.stages.evaluate.gates.figures import Figures
from pipelines.statistics import calibration

_CAVEAT = (
    "The validation rows stopped the training, so they flatter the model a little; and the recalibration is fitted on the model before "
    "these rows joined its training"
)


def reliability(measuring: Figures) -> dict[str, Any]:
    """Return the curve with pointwise bounds: of labels by bins of the score, of numbers the mean, of quantiles their coverage."""
    found, seed, form = measuring.predictions, measuring.given.seed, measuring.judged.form
    scores, resamples = found.scores["model"], measuring.resamples
    if form == "quantiles":
        bins = [
            {
                "predicted": level,
                **calibration.observed(found.outcomes <= column, found.clusters, resamples=resamples, seed=seed),
            }
            for level, column in zip(measuring.given.target.quantiles, scores.T, strict=True)
        ]
    else:
        outcomes, predicted = calibration.binary(form, found.outcomes, scores) or (found.outcomes, scores)
        is_share = form != "value"
        bins = calibration.reliability(
            outcomes, predicted, found.clusters, resamples=resamples, seed=seed, is_share=is_share
        )
    return {
        "bins": bins,
        "confidence": 0.95,
        "unit": measuring.given.unit,
        "clusters": int(found.clusters.max()) + 1,
        "resamples": resamples,
        "seed": seed,
    }


def recalibration(measuring: Figures) -> dict[str, Any] | None:
    """Return calibration in the large and in the slope, and `on_validation`; None of numbers, and where all labels or scores are alike."""
    found = measuring.predictions
    pair = calibration.binary(measuring.judged.form, found.outcomes, found.scores["model"])
    cox = calibration.recalibration(*pair, found.clusters) if pair else None
    return None if cox is None else cox | {"on_validation": on_validation(measuring)}


def on_validation(measuring: Figures) -> dict[str, Any] | None:
    """Return what recalibrating a binary model on the validation rows changes on the hold-out; None where that was not tried."""
    scores = measuring.predictions.scores
    is_done = "uncalibrated" in scores
    ours, theirs = ("model", "uncalibrated") if is_done else ("recalibrated", "model")
    if measuring.judged.form != "probability" or ours not in scores:
        return None
    pair = {"model": scores[ours], "other": scores[theirs]}
    compared = replace(measuring, predictions=replace(measuring.predictions, scores=pair))
    log_loss, error = (compared.compared(*compared.metrics()[name], "other") for name in (LOG_LOSS, CALIBRATION))
    verdict = "helps" if log_loss["lower_bound"] > 0 else "harms" if log_loss["upper_bound"] < 0 else "undecided"
    if log_loss["clusters"] < measuring.given.gates.clusters:
        verdict = "undecided"
    return {
        "verdict": verdict,
        "log_loss": log_loss,
        "calibration_error": error,
        "sentence": _sentence(verdict, log_loss, error, is_done=is_done, fewest=measuring.given.gates.clusters),
    }


def _sentence(verdict: str, log_loss: dict[str, Any], error: dict[str, Any], *, is_done: bool, fewest: int) -> str:
    told = {
        "helps": "helped" if is_done else "would have helped",
        "harms": "harmed" if is_done else "would have harmed",
        "undecided": "made no difference that these rows can show"
        if is_done
        else "would have made no difference that these rows can show",
    }[verdict]
    falls = log_loss["figure"] > 0
    by = _change(log_loss, "{:.2%}", 1 if falls else -1, fewest)
    return (
        f"Recalibrating on the validation rows {told}: the log loss {'falls' if falls else 'rises'} by {by}, "
        f"the calibration error changes by {_change(error, '{:+.4f}', -1, fewest)}, over {log_loss['clusters']:,} {log_loss['unit']}. "
        f"{_CAVEAT}."
    )


def _change(found: dict[str, Any], form: str, sign: int, fewest: int) -> str:
    figure, *bounds = (form.format(sign * found[name]) for name in ("figure", "lower_bound", "upper_bound"))
    low, high = bounds[::sign]
    told = f"{low} to {high}" if found["clusters"] >= fewest else f"too few {found['unit']} for bounds"
    return f"{figure} ({told})"
