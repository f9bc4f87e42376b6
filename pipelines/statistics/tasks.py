"""Judgement and comparison of models by their objective; `contract.schema.tasks` defines tasks and objectives.

Two models are compared by ROC-AUC where the answer is the probability of a positive label, else by their mean losses, as a share of
the other model's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import inf

from contract.schema.tasks import Form
from pipelines.params.target import TargetParams
from pipelines.statistics.losses import (
    absolute_errors,
    deviances,
    huber_losses,
    log_losses,
    pinball_losses,
    squared_errors,
)
from pipelines.statistics.measures import Outcomes, Scores, measure


@dataclass(frozen=True)
class Judgement:
    """The losses and measures by which models of an objective are judged.

    Attributes:
        losses: the loss of each row, smaller where the model is better; attributes of the target are its keywords.
        compared: name of the measure by which two models are compared.
        medium: a medium effect, as the difference of a model from the prior: R² 0.13, and d = 0.5, which is ROC-AUC 0.64 (0.5 is
            the prior's). Of absolute errors it is 1 − √(1 − R²), as of normal ones.
            Source: Cohen 1988, Statistical Power Analysis for the Behavioral Sciences.
        headline: name of the one measure in summaries of a model.
        by_auc: whether the compared measure is ROC-AUC; else it is the mean loss.
        is_root: whether the headline is the root of the mean loss; else, but for ROC-AUC, it is the mean.
        form: that of the answers.
        largest: the largest loss that a row can have.
    """

    losses: Callable[..., Scores]
    compared: str
    medium: float
    headline: str
    by_auc: bool = False
    is_root: bool = False
    form: Form = "value"
    largest: float = inf

    def measure(self, outcomes: Outcomes, scores: Scores) -> dict[str, float]:
        """Return the measures by name: those of the form, and the headline."""
        found = measure(self.form, outcomes, scores)
        if self.by_auc or self.headline in found:
            return found
        return {self.headline: float(self.losses(outcomes, scores).mean()), **found}


def judgement(target: TargetParams) -> Judgement:
    """Return the judgement by the target's objective."""
    entry, objective = JUDGEMENTS[target.judged_by.name], target.judged_by
    losses = partial(entry.losses, **{name: getattr(target, name) for name in objective.parameters})
    return replace(entry, losses=losses)


# By objective.
JUDGEMENTS = {
    "logistic": Judgement(squared_errors, "ROC-AUC", 0.14, "roc_auc", by_auc=True, form="probability", largest=1.0),
    "softmax": Judgement(log_losses, "log loss", 0.13, "log_loss", form="probabilities"),
    "squared_error": Judgement(squared_errors, "mean squared error", 0.13, "rmse", is_root=True),
    "absolute_error": Judgement(absolute_errors, "mean absolute error", 0.07, "mae"),
    "huber": Judgement(huber_losses, "mean Huber loss", 0.07, "huber_loss"),
    "poisson": Judgement(partial(deviances, power=1.0), "mean Poisson deviance", 0.13, "deviance"),
    "gamma": Judgement(partial(deviances, power=2.0), "mean gamma deviance", 0.13, "deviance"),
    "tweedie": Judgement(deviances, "mean Tweedie deviance", 0.13, "deviance"),
    "pinball": Judgement(pinball_losses, "mean pinball loss", 0.07, "pinball_loss", form="quantiles"),
}
