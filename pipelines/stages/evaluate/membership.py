"""Membership inference: an attack that guesses from the loss of a row whether the model was trained on it; pure functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipelines.data.clusters import Clusters
from pipelines.statistics import comparisons, parts
from pipelines.statistics.measures import Outcomes, Scores
from pipelines.statistics.tasks import Judgement

_MODELS = ("model", "linear", "prior")


def inference(
    judgement: Judgement,
    members: tuple[Outcomes, dict[str, Scores]],
    others: tuple[Outcomes, dict[str, Scores]],
    clusters: Clusters,
    *,
    resamples: int,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Return the ROC-AUC of the attack on each model, with its bounds: training rows told from hold-out rows by their losses.

    The attack ranks rows as members by ascending loss; 0.5 is chance.

    Args:
        members: outcomes of training rows, and their scores by model.
        others: the same of hold-out rows.
        clusters: of both, one after the other.

    Source: Yeom, Giacomelli, Fredrikson, Jha 2018, Privacy Risk in Machine Learning, the attack with a threshold on the loss; here
    over all thresholds.
    """
    drawn = parts.blocks(clusters, seed)
    is_member = np.repeat(np.array([1, 0], np.int8), [len(members[0]), len(others[0])])
    attacks = [
        parts.area(
            is_member, -np.concatenate([judgement.losses(*_scored(rows, name)) for rows in (members, others)]), drawn
        )
        for name in _MODELS
    ]
    found = parts.resampled(attacks, drawn, resamples=resamples, seed=seed)
    return {
        name: {"measure": "ROC-AUC of the attack", **comparisons.bounded(values.bounds)}
        for name, values in zip(_MODELS, found, strict=True)
        if values is not None
    }


def _scored(rows: tuple[Outcomes, dict[str, Scores]], name: str) -> tuple[Outcomes, Scores]:
    outcomes, scores = rows
    return outcomes, scores[name]
