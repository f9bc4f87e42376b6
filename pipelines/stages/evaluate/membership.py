"""Membership inference: an attack that guesses from the loss of a row whether the model was trained on it; pure functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipelines.statistics.measures import Outcomes, Scores
from pipelines.statistics.tasks import Judgement


def inference(
    judgement: Judgement, members: tuple[Outcomes, dict[str, Scores]], others: tuple[Outcomes, dict[str, Scores]]
) -> dict[str, Any]:
    """Return the ROC-AUC of the attack on each model: training rows told from hold-out rows by their losses.

    Args:
        members: outcomes of training rows, and their scores by model.
        others: the same of hold-out rows.

    Returns:
        `roc_auc` of the model, that of the baselines as `against`, and the number of `members`.
    """
    losses = judgement.losses
    areas = {
        name: attack_auc(losses(members[0], members[1][name]), losses(others[0], others[1][name]))
        for name in ("model", "linear", "prior")
    }
    return {"roc_auc": areas.pop("model"), "against": areas, "members": len(members[0])}


def attack_auc(of_members: Scores, of_others: Scores) -> float:
    """Return ROC-AUC of the attack that ranks rows as members by ascending loss; 0.5 is chance.

    Source: Yeom, Giacomelli, Fredrikson, Jha 2018, Privacy Risk in Machine Learning, the attack with a threshold on the loss; here
    over all thresholds.
    """
    from sklearn.metrics import roc_auc_score

    is_member = np.repeat([1, 0], [len(of_members), len(of_others)])
    return float(roc_auc_score(is_member, -np.concatenate([of_members, of_others])))
