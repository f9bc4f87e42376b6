"""`monitor`: score the live model on the newest month, whose labels have arrived."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from contract.bundle import manifest
from contract.errors import ConfigurationError, DataRejectedError, ModelRejectedError
from contract.files import canonical_json, write_atomically
from contract.model.predictor import Predictor
from contract.schema.tasks import TASKS
from pipelines import paths
from pipelines.data import tables
from pipelines.data.clusters import Clusters, behind, clusters_of
from pipelines.data.history import partitions
from pipelines.machine import live
from pipelines.machine.settings import open_store
from pipelines.params.features.transforms import histories
from pipelines.params.params import Params
from pipelines.statistics import comparisons, measures
from pipelines.statistics.comparable import obstacles
from pipelines.statistics.measures import Outcomes, Scores
from pipelines.statistics.tasks import Judgement, judgement


class Judged(NamedTuple):
    """The labelled rows of a month, their outcomes and the live model's scores."""

    table: pl.DataFrame
    outcomes: Outcomes
    scores: Scores


def run(params: Params) -> str:
    """Write `reports/monitor.json`.

    The alarm is raised if the favourable bound (95 %, resampled) of the month's headline measure is worse than the measure at
    approval by more than `gates.regression_margin`.

    Over fewer days, entities or rows than `gates.clusters` the bound is too narrow to decide, and the report says `undecided`.

    A month in the live model's own training data proves little; the report marks it (`seen`). Without a live model there is no report.

    Raises:
        ModelRejectedError: the alarm; retrain, or roll back.
        ConfigurationError: the live model reads other fields than params.yaml declares, or the
            store has no live model although one was seen.
    """
    store = open_store()
    digest = live.digest(store)
    if digest is None:
        return "no model is live yet, so there is nothing to monitor"
    claims = manifest.verify(store.path(digest), digest)
    predictor = Predictor.load(store.path(digest) / manifest.ARTIFACT)
    in_utc = tables.columns_in_utc(paths.accepted(params.data.months[-1]))
    if problems := obstacles(predictor.schema, params.data, params.target, params.features, in_utc):
        raise ConfigurationError(
            f"the live model {digest[:12]} cannot be monitored with this params.yaml, which declares other inputs than it reads; "
            "monitor it with its own params.yaml until a model of this one is live",
            problems,
        )
    judged, key = judgement(params.target), claims.gate.get("headline", TASKS[claims.task].headline)
    if key != judged.headline:
        raise ConfigurationError(
            f"the live model {digest[:12]} was approved by {measures.MEASURES[key].title}, and target.objective asks for "
            f"{measures.MEASURES[judged.headline].title}; monitor it with its own params.yaml until a model of this one is live"
        )
    promised = claims.metrics[key]
    month = params.data.months[-1]
    seen = month in claims.inputs["partitions"]
    rows = _judged(month, params, predictor)
    clusters, unit = clusters_of(rows.table, params.data.time, params.split)
    labels = rows.outcomes if judged.by_auc else None
    measured = {**_measures(judged, rows), "clusters": behind(clusters, labels), "unit": unit}
    resampled = {"resamples": params.evaluate.bootstrap, "seed": params.train.seed}
    bound, worse = _bound(judged, rows, clusters, promised, params.gates.regression_margin, **resampled)
    undecided = worse and measured["clusters"] < params.gates.clusters
    report = {"model": digest, "month": month, "seen": seen, f"promised_{key}": promised, **measured, **bound}
    report |= {"alarm": worse and not undecided, "undecided": undecided}
    write_atomically(paths.MONITOR, canonical_json(report))
    known = ", which it was made from" if seen else ""
    name = measures.MEASURES[key].title
    summary = f"{digest[:12]} on {month}{known}: {name} {report[key]:.4f}, {promised:.4f} when approved"
    if undecided:
        return f"{summary}; undecided, over {measured['clusters']} {measured['unit']} (gates.clusters: {params.gates.clusters})"
    if worse:
        raise ModelRejectedError(
            f"{summary}; the live model is worse than it was. Retrain, or roll back (`bin/fleet rollback`)"
        )
    return summary


def _judged(month: str, params: Params, predictor: Predictor) -> Judged:
    """Score the rows of the month that have a label, with their history as of now.

    Raises:
        DataRejectedError: there are none, or a label of a binary target has none.
    """
    target = params.target
    table = tables.read(paths.accepted(month))
    table = table.hstack(partitions.of_month(month, histories(params.features), params.data, target))
    table = table.filter(tables.outcomes(table, target).is_not_null())
    outcomes = tables.outcomes(table, target).to_numpy()
    if not len(outcomes) or (TASKS[target.task].has_positive and not 0 < outcomes.sum() < len(outcomes)):
        raise DataRejectedError(f"{month} has no labels of both kinds yet; wait for them to arrive")
    fields = [field.name for field in predictor.schema.fields]
    return Judged(table, outcomes, predictor.score_table(tables.encodable(table, fields)).astype(np.float64))


def _measures(by: Judgement, judged: Judged) -> dict[str, Any]:
    measured: dict[str, Any] = {
        **by.measure(judged.outcomes, judged.scores),
        "rows": judged.table.height,
        **measures.describe(by.form, judged.outcomes),
    }
    if by.form in ("probability", "value"):
        measured["mean_score"] = float(judged.scores.mean())
    return measured


def _bound(
    by: Judgement, judged: Judged, clusters: Clusters, promised: float, margin: float, *, resamples: int, seed: int
) -> tuple[dict[str, float], bool]:
    """Return the favourable bound, and whether even that is too bad."""
    outcomes, scores = judged.outcomes, judged.scores
    headline = by.headline
    if by.by_auc:
        areas = comparisons.areas(outcomes, scores, clusters, resamples=resamples, seed=seed)
        upper = float(np.nanpercentile(areas[1:], 95))
        return {f"{headline}_upper_bound": upper}, upper < promised - margin
    losses = comparisons.resampled_means(by.losses(outcomes, scores), clusters, resamples=resamples, seed=seed)
    lower = float(np.percentile(losses[1:], 5))
    if by.is_root:
        return {f"{headline}_lower_bound": float(np.sqrt(max(lower, 0.0)))}, lower > promised**2 * (1 + margin)
    return {f"{headline}_lower_bound": lower}, lower > promised * (1 + margin)
