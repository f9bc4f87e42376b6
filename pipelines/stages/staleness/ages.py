"""The loss of models by their age, and when to retrain; pure functions.

A model's age on a month is 1 if it is trained up to the month before. On each month the models are compared with the freshest one, of
age 1, on the same rows. The months of one age are compared together: as if a server had always run a model of that age.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.data.clusters import Clusters, behind
from pipelines.statistics import comparisons
from pipelines.statistics.measures import Outcomes, Scores
from pipelines.statistics.tasks import Judgement

KEPT, LOST, UNDECIDED = "within the margin", "lost", "undecided"


@dataclass(frozen=True)
class Scored:
    """A month's rows, scored by one model."""

    trained_to: str
    month: str
    outcomes: Outcomes
    scores: Scores
    clusters: Clusters

    @property
    def age_months(self) -> int:
        """The months from the last one that the model is trained on."""
        return _number(self.month) - _number(self.trained_to)

    def is_usable(self, judged: Judgement) -> bool:
        """Return whether the headline has a meaning on these rows: ROC-AUC needs both labels."""
        return not judged.by_auc or 0 < int(self.outcomes.sum()) < len(self.outcomes)


@dataclass(frozen=True)
class Rule:
    """The terms of the comparison.

    Attributes:
        margin: largest loss that counts as none: of ROC-AUC, or a share of the freshest model's loss.
        fewest: clusters below which a bound decides nothing.
    """

    judged: Judgement
    margin: float
    fewest: int
    resamples: int
    seed: int

    def compared(self, aged: Sequence[Scored], fresh: Sequence[Scored]) -> dict[str, Any]:
        """Return the paired difference of the older scores from those of the freshest models; below 0 the older are worse."""
        outcomes = np.concatenate([each.outcomes for each in aged])
        scores, others = (np.concatenate([each.scores for each in models]) for models in (aged, fresh))
        clusters = np.unique(np.concatenate([each.clusters for each in aged]), return_inverse=True)[1]
        values = comparisons.differences(
            self.judged, outcomes, scores, others, clusters, resamples=self.resamples, seed=self.seed
        )
        return comparisons.bounded(values)

    def point(self, scored: Scored, fresh: Scored | None) -> dict[str, Any]:
        """Return the headline of a model on a month, and its difference from the freshest model, if that is another one."""
        clusters = np.unique(scored.clusters, return_inverse=True)[1]
        values = comparisons.headlines(
            self.judged, scored.outcomes, scored.scores, clusters, resamples=self.resamples, seed=self.seed
        )
        return {
            "trained_to": scored.trained_to,
            "month": scored.month,
            "age_months": scored.age_months,
            "rows": len(scored.outcomes),
            "clusters": int(clusters.max()) + 1,
            **comparisons.bounded(values),
            "difference": None if fresh is None or fresh is scored else self.compared([scored], [fresh]),
        }

    def age(self, months: int, pairs: Sequence[tuple[Scored, Scored]]) -> dict[str, Any]:
        """Return the difference of all models of an age from the freshest ones, and what it shows."""
        difference = self.compared([aged for aged, _ in pairs], [fresh for _, fresh in pairs])
        clusters = sum(behind(aged.clusters, aged.outcomes if self.judged.by_auc else None) for aged, _ in pairs)
        found = UNDECIDED
        if clusters >= self.fewest:
            if difference["upper_bound"] < -self.margin:
                found = LOST
            elif difference["lower_bound"] > -self.margin:
                found = KEPT
        return {
            "age_months": months,
            "months": [aged.month for aged, _ in pairs],
            "rows": sum(len(aged.outcomes) for aged, _ in pairs),
            "clusters": clusters,
            "verdict": found,
            **difference,
        }


def curve(scored: Sequence[Scored], rule: Rule) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the points, and the ages from 2 on up to the first without a comparison."""
    usable = [each for each in scored if each.is_usable(rule.judged)]
    fresh = {each.month: each for each in usable if each.age_months == 1}
    points = [rule.point(each, fresh.get(each.month)) for each in usable]
    by_age: dict[int, list[tuple[Scored, Scored]]] = {}
    for each in usable:
        if each.age_months > 1 and each.month in fresh:
            by_age.setdefault(each.age_months, []).append((each, fresh[each.month]))
    ages, age = [], 2
    while age in by_age:
        ages.append(rule.age(age, by_age[age]))
        age += 1
    return points, ages


def sentence(ages: Sequence[Mapping[str, Any]], rule: Rule) -> tuple[int, str]:
    """Return the number of months after which to retrain, and the sentence that says so.

    A model is replaced before the first age that is shown to lose more than the margin. If none is, it is kept up to the last age of an
    unbroken run that is shown not to.

    Args:
        ages: from 2 on, without gaps, at least one.
    """
    measure = f"{rule.margin:g} {rule.judged.compared}" if rule.judged.by_auc else (
        f"{rule.margin:.2%} of the {rule.judged.compared}"
    )  # fmt: skip
    oldest = int(ages[-1]["age_months"])
    lost = next((int(entry["age_months"]) for entry in ages if entry["verdict"] == LOST), None)
    if lost is not None:
        told = (
            f"a model in its {_ordinal(lost)} month loses more than {measure} against the freshest one on the same rows"
        )
        return lost - 1, f"Retrain {_every(lost - 1)}: {told}, with 95 % confidence."
    open_ = next((int(entry["age_months"]) for entry in ages if entry["verdict"] == UNDECIDED), None)
    if open_ is None:
        told = f"up to its {_ordinal(oldest)} month a model is shown to lose no more than {measure} against the freshest one"
        return oldest, f"Retrain {_every(oldest)}, or more rarely: {told} on the same rows, with 95 % confidence."
    told = f"from its {_ordinal(open_)} month on these rows leave open whether a model loses more than {measure} against the freshest one"
    return open_ - 1, f"Retrain {_every(open_ - 1)}: {told}; no such loss was shown up to the {_ordinal(oldest)}."


def _every(months: int) -> str:
    return "every month" if months == 1 else f"every {months} months"


def _ordinal(number: int) -> str:
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10 if number not in (11, 12, 13) else 0, 'th') }"


def _number(month: str) -> int:
    year, number = month.split("-")
    return 12 * int(year) + int(number)
