"""The figures of one part of the hold-out: statistics to resample, and how each is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.data.clusters import Clusters, behind
from pipelines.stages.evaluate.gates.conditions import CALIBRATION, HEADLINE
from pipelines.stages.evaluate.gates.figures import Figures
from pipelines.statistics import calibration, comparisons, costs, estimates, parts
from pipelines.statistics.measures import CALIBRATION_BINS, MEASURES, Outcomes, Scores
from pipelines.statistics.parts import Resampled, Statistic

GAP, OUTCOME = "calibration_gap", "outcome"
# A share or a ROC-AUC of fewer rows of a label has bounds that say nothing: often all resamplings agree.
FEWEST_OF_A_LABEL = 10
_FEWEST_IN_A_BIN = 30  # in smaller bins chance alone makes the calibration error large


@dataclass(frozen=True)
class Part:
    """Some rows of the hold-out.

    Attributes:
        rows: their indices.
        blocks: what is drawn for each of them; `clusters` are the units that rows share.
    """

    measuring: Figures
    rows: NDArray[np.int64]
    blocks: Clusters

    @property
    def outcomes(self) -> Outcomes:
        """The outcomes of its rows."""
        return self.measuring.predictions.outcomes[self.rows]

    @property
    def clusters(self) -> int:
        """Number of clusters that have a row here."""
        return behind(self.measuring.predictions.clusters[self.rows])

    @property
    def compared_clusters(self) -> int:
        """Number of clusters behind a difference of the headline."""
        labels = self.outcomes if self.measuring.judged.by_auc else None
        return behind(self.measuring.predictions.clusters[self.rows], labels)

    def scores(self, model: str = "model") -> Scores:
        """Return the scores of its rows."""
        return self.measuring.predictions.scores[model][self.rows]

    def figures(self) -> Iterator[tuple[str, str, Statistic]]:
        """Yield name, words and statistic of the outcomes, the headline and the calibration, where they have a meaning."""
        judged = self.measuring.judged
        if judged.form != "probabilities":
            is_share = judged.form == "probability"
            outcomes = self.share(self.outcomes == 1) if is_share else self.mean(self.outcomes)
            yield OUTCOME, "positive share" if is_share else "mean outcome", outcomes
        if (headline := self._headline()) is not None:
            yield HEADLINE, MEASURES[judged.headline].title, headline
        pair = calibration.binary(judged.form, self.outcomes, self.scores())
        if pair and len(self.rows) >= CALIBRATION_BINS * _FEWEST_IN_A_BIN:
            yield CALIBRATION, "calibration error", calibration.error_of(*pair, self.blocks)
        yield from self.gaps()

    def gaps(self) -> Iterator[tuple[str, str, Statistic]]:
        """Yield the mean of the predictions less that of the outcomes; of quantiles, the share of outcomes below each less its level."""
        form, scores = self.measuring.judged.form, self.scores()
        if form == "quantiles":
            for at, column in zip(self.measuring.given.target.quantiles, scores.T, strict=True):
                values = (self.outcomes <= column) - at
                yield f"{GAP}: {at:g}", f"share of outcomes up to the quantile {at:g}, less {at:g}", self.mean(values)
            return
        outcomes, predicted = calibration.binary(form, self.outcomes, scores) or (self.outcomes, scores)
        yield GAP, "mean prediction less mean outcome", self.mean(predicted - outcomes)

    def answers(self) -> Iterator[tuple[str, str, Statistic]]:
        """Yield rates and errors of the answers, and the loss."""
        judged, target = self.measuring.judged, self.measuring.given.target
        if judged.form in ("probability", "probabilities"):
            answered = costs.served_answers(judged.form, self.scores(), target.threshold)
            if judged.form == "probability":
                yield "rate", f"share answered with {target.labels[1]}", self.share(answered == 1)
                for name, label_code in (("true_positive_rate", 1), ("false_positive_rate", 0)):
                    among = self.outcomes == label_code
                    if among.sum() >= FEWEST_OF_A_LABEL:
                        yield name, name.replace("_", " "), parts.share(among & (answered == 1), self.blocks, among)
            else:
                for index, label in enumerate(target.labels):
                    yield f"rate: {label}", f"share answered with {label}", self.share(answered == index)
            yield "error_rate", "share of wrong answers", self.share(answered != self.outcomes)
        elif judged.form == "value":
            yield "rate", "mean prediction", self.mean(self.scores())
        yield "loss", f"mean {loss_name(self.measuring)}", self._losses()

    def mean(self, values: NDArray[Any]) -> Statistic:
        """Return the statistic of a mean over its rows."""
        return parts.mean(values, self.blocks)

    def share(self, values: NDArray[np.bool_]) -> Statistic:
        """Return the statistic of a share of its rows."""
        return parts.share(values, self.blocks)

    def difference(self, other: str) -> Statistic | None:
        """Return the statistic of the difference from another model, as the headline's gate has it; None where it has no meaning."""
        judged, ours, theirs = self.measuring.judged, self.scores(), self.scores(other)
        if judged.by_auc:
            if not parts.has_both(self.outcomes, FEWEST_OF_A_LABEL):
                return None
            return parts.area(self.outcomes, ours, self.blocks, theirs)
        losses, others = (judged.losses(self.outcomes, scores) for scores in (ours, theirs))
        by_row, high = comparisons.saved_by_row(losses, others), comparisons.most_saved(losses)
        return parts.mean(by_row, self.blocks, high=high, is_difference=True)

    def _headline(self) -> Statistic | None:
        judged = self.measuring.judged
        if judged.by_auc:
            if not parts.has_both(self.outcomes, FEWEST_OF_A_LABEL):
                return None
            return parts.area(self.outcomes, self.scores(), self.blocks)
        return estimates.root(self._losses()) if judged.is_root else self._losses()

    def _losses(self) -> Statistic:
        judged = self.measuring.judged
        return parts.mean(judged.losses(self.outcomes, self.scores()), self.blocks, low=0.0, high=judged.largest)


def loss_name(measuring: Figures) -> str:
    """Return the name of the loss of a row."""
    judged = measuring.judged
    return "squared error of the probability" if judged.by_auc else judged.compared.removeprefix("mean ")


def resampled(statistics: list[Statistic], measuring: Figures, blocks: Clusters) -> list[Resampled | None]:
    """Return each statistic, as measured and of each resampling, with the seed and the number of all other figures."""
    return parts.resampled(statistics, blocks, resamples=measuring.resamples, seed=measuring.given.seed)


def bounded(measure: str, found: Resampled) -> dict[str, Any]:
    """Return a figure with its bounds and its words."""
    return {"measure": measure, **comparisons.bounded(found.bounds)}


def with_values(entries: Mapping[str, tuple[str, Resampled | None]]) -> dict[str, dict[str, Any]]:
    """Return each figure with its bounds; those that too many resamplings lack are left out."""
    return {name: bounded(words, found) for name, (words, found) in entries.items() if found is not None}
