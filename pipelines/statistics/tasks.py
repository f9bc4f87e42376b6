"""Judgement and comparison of models by task; `contract.schema.tasks` defines the tasks.

Two models are compared by ROC-AUC where the answer is the probability of a positive label, else by their mean losses, as a share of
the other model's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.statistics.measures import Outcomes, Scores, log_losses, squared_errors


@dataclass(frozen=True)
class Judgement:
    """The losses and measures by which models of a task are judged.

    Attributes:
        losses: the loss of each row, smaller where the model is better.
        compared: name of the measure by which two models are compared.
        by_auc: whether this measure is ROC-AUC; else it is the mean loss.
        is_root: whether the task's headline measure is the root of the mean loss; else it is the mean.
        medium: a medium effect, as the difference of a model from the prior: R² 0.13, and d = 0.5, which is ROC-AUC 0.64 (0.5 is
            the prior's). Source: Cohen 1988, Statistical Power Analysis for the Behavioral Sciences.
        sliced: names of the measures shown for each slice.
    """

    losses: Callable[[Outcomes, Scores], Scores]
    compared: str
    medium: float
    sliced: tuple[str, ...]
    by_auc: bool = False
    is_root: bool = False


JUDGEMENTS = {
    "binary": Judgement(squared_errors, "ROC-AUC", 0.14, ("roc_auc", "calibration_error"), by_auc=True),
    "multiclass": Judgement(log_losses, "log loss", 0.13, ("log_loss", "accuracy")),
    "regression": Judgement(squared_errors, "mean squared error", 0.13, ("rmse", "mae", "r2"), is_root=True),
}
