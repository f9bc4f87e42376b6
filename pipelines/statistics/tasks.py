"""How the models of each task are judged and compared; `contract.schema.tasks` says what a task is.

Two models are compared by ROC-AUC where the answer is the probability of a positive label, else by their mean losses, as a share of
the other model's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.statistics.measures import Outcomes, Scores, log_losses, squared_errors


@dataclass(frozen=True)
class Judgement:
    """How models of a task are judged.

    Attributes:
        losses: the loss of each row, smaller where the model is better.
        compared: what two models are compared by, in words.
        by_auc: whether that is ROC-AUC, and not the mean loss.
        is_root: whether the task's headline is the root of the mean loss, and not the mean itself.
        medium: a medium effect, as the difference of a model from the prior: R² 0.13, and d = 0.5, which is ROC-AUC 0.64 (0.5 is
            the prior's). Source: Cohen 1988, Statistical Power Analysis for the Behavioral Sciences.
        sliced: the measures that a slice is shown with.
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
