"""`monitor`: the live model on the newest month, now that its labels have arrived."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from contract import manifest
from contract.errors import DataRejectedError, ModelRejectedError
from contract.files import canonical_json, write_atomically
from contract.predictor import Predictor
from contract.store import Store
from pipelines import measures, paths, tables
from pipelines.params import Params
from pipelines.settings import store_location


def run(params: Params) -> str:
    """Write `reports/monitor.json`.

    The alarm is raised when even the upper 95 % bound of the month's ROC-AUC (days resampled) is more than
    `gates.regression_margin` below what the model showed when it was approved.

    A month that the live model was made from says little about it; the report says so (`seen`). While nothing is live there is
    nothing to watch, and no report.

    Raises:
        ModelRejectedError: the alarm; retrain, or roll back.
    """
    store = Store(store_location())
    live = store.read("live")
    if live is None:
        return "nothing is live yet, so there is nothing to watch"
    digest = live.digest
    claims = manifest.verify(store.path(digest), digest)
    promised = claims.metrics["roc_auc"]
    month = params.data.months[-1]
    seen = month in claims.inputs["partitions"]
    report = {
        "model": digest,
        "month": month,
        "seen": seen,
        "promised_roc_auc": promised,
        **_measure(params, month, store, digest),
    }
    report["alarm"] = report["roc_auc_upper_bound"] < promised - params.gates.regression_margin
    write_atomically(paths.MONITOR, canonical_json(report))
    known = ", which it was made from" if seen else ""
    summary = f"{digest[:12]} on {month}{known}: ROC-AUC {report['roc_auc']:.4f}, {promised:.4f} when approved"
    if report["alarm"]:
        raise ModelRejectedError(
            f"{summary}; the live model is worse than it was. Retrain, or roll back (`bin/fleet rollback`)"
        )
    return summary


def _measure(params: Params, month: str, store: Store, digest: str) -> dict[str, Any]:
    predictor = Predictor.load(store.path(digest) / manifest.ARTIFACT)
    table = tables.read(paths.partition(month)).filter(pl.col(params.target.column).is_not_null())
    labels = tables.positives(table, params.target).to_numpy()
    if not 0 < labels.sum() < len(labels):
        raise DataRejectedError(f"{month} has no labels of both kinds yet; wait for them to arrive")
    fields = [field.name for field in predictor.schema.fields]
    scores = predictor.score_columns(tables.columns_of(table, fields)).astype(np.float64)
    days = measures.number_days(table[params.data.time])
    areas = measures.auc_by_resampled_days(
        labels,
        measures.concordance(labels, scores, days),
        days,
        resamples=params.evaluate.bootstrap,
        seed=params.train.seed,
    )
    return {
        **measures.measure(labels, scores),
        "roc_auc_upper_bound": float(np.nanpercentile(areas[1:], 95)),
        "rows": table.height,
        "positive_rate": float(labels.mean()),
        "mean_score": float(scores.mean()),
    }
