"""Stage `evaluate`: the exported model, scored on the hold-out by the code that serves it, against baselines and the live model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.errors import DataRejectedError, ModelRejectedError, Problem
from contract.files import canonical_json, write_atomically
from contract.predictor import Predictor
from pipelines import paths, tables
from pipelines.evaluate import curves, gate, report, slices
from pipelines.measures import Labels, Scores, auc_difference, measure, number_days
from pipelines.params import Params


@dataclass(frozen=True)
class Holdout:
    """The labelled rows that no model has seen: `days` numbers the calendar days from 0, the unit of resampling."""

    table: pl.DataFrame
    labels: Labels
    times: pl.Series
    days: NDArray[np.int64]
    unlabelled: int


def run(params: Params) -> str:
    """Write metrics, plots, report and the gate's evidence, whatever the verdict.

    Raises:
        ModelRejectedError: the model did not pass the gate; with the reason.
    """
    training = json.loads(paths.TRAINING.read_bytes())
    holdout = _holdout(params)
    scores = _scores(holdout, training["prior"])
    champion = json.loads((paths.CHAMPION / "champion.json").read_bytes())
    checks = _checks(params, holdout, scores)
    approval = {
        "approved": all(check["passed"] for check in checks),
        "checks": checks,
        "champion": champion["digest"],
    }
    metrics = _metrics(holdout, scores)
    breakdown = slices.by_slice(holdout.table, params.evaluate.slices, holdout.labels, scores["model"])
    drawn = curves.curves(holdout.labels, scores["model"], training["importance"])
    for name, rows in drawn.items():
        write_atomically(paths.PLOTS / f"{name}.csv", curves.to_csv(rows))
    write_atomically(paths.METRICS, canonical_json(metrics))
    write_atomically(paths.REPORTS / "slices.json", canonical_json(breakdown))
    write_atomically(paths.APPROVAL, canonical_json(approval))
    counts = json.loads((paths.FEATURES / "counts.json").read_bytes())
    page = report.render(params, metrics, approval, breakdown, drawn, counts, training)
    write_atomically(paths.EVALUATION, page.encode())
    return _verdict(metrics, checks)


def _holdout(params: Params) -> Holdout:
    _, start, end = tables.split_points(params.data.months, params.split)
    time = params.data.time
    rows = tables.read_partitions(_months_from(params.data.months, start)).filter(
        pl.col(time).is_between(start, end, closed="left")
    )
    labelled = rows.filter(pl.col(params.target.column).is_not_null())
    labels = tables.positives(labelled, params.target).to_numpy()
    if not 0 < labels.sum() < len(labels):
        raise DataRejectedError(
            f"the hold-out from {start:%Y-%m-%d} to {end:%Y-%m-%d} has {len(labels)} labelled rows, "
            f"{int(labels.sum())} of them positive; a model cannot be judged on that"
        )
    return Holdout(labelled, labels, labelled[time], number_days(labelled[time]), rows.height - labelled.height)


def _months_from(months: tuple[str, ...], start: datetime) -> list[str]:
    return [month for month in months if tables.month_bounds(month)[1] > start]


def _scores(holdout: Holdout, prior: float) -> dict[str, Scores]:
    """Probabilities by model: `model`, `linear`, `prior`, and `champion` where there is a comparable live model."""
    scores: dict[str, Scores] = {
        "model": _score(Predictor.load(paths.BOOSTED), holdout),
        "linear": _score(Predictor.load(paths.LINEAR), holdout),
        "prior": np.full(len(holdout.labels), prior),
    }
    if (paths.CHAMPION / "model.onnx").exists():
        champion = Predictor.load(paths.CHAMPION)
        # A live model of another table, or of columns that are gone, cannot answer for these rows.
        if all(field.name in holdout.table.columns for field in champion.schema.fields):
            scores["champion"] = _score(champion, holdout)
    return scores


def _score(predictor: Predictor, holdout: Holdout) -> Scores:
    names = [field.name for field in predictor.schema.fields]
    return predictor.score_columns(tables.columns_of(holdout.table, names)).astype(np.float64)


def _checks(params: Params, holdout: Holdout, scores: dict[str, Scores]) -> list[dict[str, Any]]:
    def against(other: str) -> dict[str, Any]:
        return auc_difference(
            holdout.labels,
            scores["model"],
            scores[other],
            holdout.days,
            resamples=params.evaluate.bootstrap,
            seed=params.train.seed,
        )

    checks = [
        gate.better_than_prior(against("prior")),
        gate.better_than_linear(against("linear")),
    ]
    if "champion" in scores:
        checks.append(gate.not_worse_than_live(against("champion"), params.gates.regression_margin))
    return checks


def _metrics(holdout: Holdout, scores: dict[str, Scores]) -> dict[str, Any]:
    others = {name: measure(holdout.labels, values) for name, values in scores.items() if name != "model"}
    return {
        **measure(holdout.labels, scores["model"]),
        "holdout": {
            "rows": len(holdout.labels),
            "unlabelled": holdout.unlabelled,
            "positive_rate": float(holdout.labels.mean()),
        },
        "by_month": slices.by_month(holdout.times, holdout.labels, scores["model"]),
        "against": others,
    }


def _verdict(metrics: dict[str, Any], checks: list[dict[str, Any]]) -> str:
    failed = [check for check in checks if not check["passed"]]
    if failed:
        raise ModelRejectedError(
            f"the model is rejected: {len(failed)} of {len(checks)} checks failed; the live model stays. "
            f"Evidence: {paths.EVALUATION}",
            [Problem(None, None, gate.reason(check)) for check in failed],
        )
    linear = metrics["against"]["linear"]["roc_auc"]
    return f"ROC-AUC {metrics['roc_auc']:.4f} (linear baseline {linear:.4f}, prior 0.5), {len(checks)} checks passed"
