"""What the model gives away of who was in its training: the attack that guesses by the loss of a row; pure functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipelines.statistics.measures import Outcomes, Scores
from pipelines.statistics.tasks import JUDGEMENTS


def inference(
    task: str, members: tuple[Outcomes, dict[str, Scores]], others: tuple[Outcomes, dict[str, Scores]]
) -> dict[str, Any]:
    """How well each model's losses tell the rows that it was trained on from those of the hold-out.

    Args:
        members: outcomes of rows that were learned from, and their scores by model.
        others: the same of rows that were not.

    Returns:
        `roc_auc` of the model, `against` with that of the baselines, and the number of `members` that were asked about.
    """
    losses = JUDGEMENTS[task].losses
    areas = {
        name: attack_auc(losses(members[0], members[1][name]), losses(others[0], others[1][name]))
        for name in ("model", "linear", "prior")
    }
    return {"roc_auc": areas.pop("model"), "against": areas, "members": len(members[0])}


def attack_auc(of_members: Scores, of_others: Scores) -> float:
    """ROC-AUC of the attack that takes a row for a member the sooner the smaller its loss is; 0.5 where nothing can be told.

    Source: Yeom, Giacomelli, Fredrikson, Jha 2018, Privacy Risk in Machine Learning, the attack with a threshold on the loss; here
    over all thresholds.
    """
    from sklearn.metrics import roc_auc_score

    is_member = np.repeat([1, 0], [len(of_members), len(of_others)])
    return float(roc_auc_score(is_member, -np.concatenate([of_members, of_others])))
