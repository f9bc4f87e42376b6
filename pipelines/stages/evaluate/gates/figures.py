"""The figures of one hold-out, each with its bounds and what they rest on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.schema.tasks import TASKS
from pipelines.data.clusters import Clusters, behind
from pipelines.params.params import Evaluate, Gates, TargetParams
from pipelines.stages.evaluate.gates.conditions import BEST_COST, CALIBRATION, COST, HEADLINE, LOG_LOSS, SAVED
from pipelines.stages.evaluate.gates.predictions import Predictions
from pipelines.statistics import calibration, comparisons, costs, estimates, parts
from pipelines.statistics.measures import MEASURES, Outcomes, Scores
from pipelines.statistics.parts import Statistic
from pipelines.statistics.tasks import Judgement

Values = NDArray[np.float64]
# From outcomes, scores, the other model's scores, and clusters to the differences: as measured, then of each resampling.
Differences = Callable[[Outcomes, Scores, Scores, NDArray[np.int64]], Values]


@dataclass(frozen=True)
class Given:
    """The grounds of a decision beside the predictions.

    Attributes:
        unit: of resampling: `days`, `entities` or `rows`.
        splits: of all trees of the model; None where it is not made of trees.
        live: digest of the live model; None where nothing is live.
        because: reasons why the two cannot be compared; empty if they can.
    """

    target: TargetParams
    evaluate: Evaluate
    gates: Gates
    seed: int
    unit: str
    splits: int | None = None
    live: str | None = None
    because: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON, for `gates.json`."""
        return {
            "target": self.target.model_dump(mode="json", exclude_unset=True),
            "evaluate": self.evaluate.model_dump(mode="json"),
            "gates": self.gates.model_dump(mode="json"),
            "seed": self.seed,
            "unit": self.unit,
            "splits": self.splits,
            "live": self.live,
            "because": list(self.because),
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Given:
        """Return what `to_json` wrote."""
        return cls(
            TargetParams.model_validate(found["target"]),
            Evaluate.model_validate(found["evaluate"]),
            Gates.model_validate(found["gates"]),
            found["seed"],
            found["unit"],
            found["splits"],
            found["live"],
            tuple(found["because"]),
        )


@dataclass(frozen=True)
class Figures:
    """The figures of one hold-out, each with its bounds and what they rest on."""

    given: Given
    predictions: Predictions
    judged: Judgement

    @property
    def resamples(self) -> int:
        """Number of resamplings behind each bound."""
        return self.given.evaluate.bootstrap

    def bounded(
        self, measure: str, values: Values, clusters: NDArray[np.int64], labels: Outcomes | None = None
    ) -> dict[str, Any]:
        """Return a figure with its bounds from the values as measured and of each resampling.

        Args:
            labels: of the rows, for ROC-AUC (`pipelines.data.clusters.behind`).
        """
        return {
            "measure": measure,
            **comparisons.bounded(values),
            "unit": self.given.unit,
            "clusters": behind(clusters, labels),
            "rows": len(clusters),
            "resamples": self.resamples,
            "seed": self.given.seed,
        }

    def compared(
        self, measure: str, differences: Differences, other: str, mask: NDArray[np.bool_] | None = None
    ) -> dict[str, Any]:
        """Return the paired difference of this model from another on these rows, all by default."""
        found, every = self.predictions, slice(None)
        rows = every if mask is None else mask
        clusters = found.clusters if mask is None else np.unique(found.clusters[mask], return_inverse=True)[1]
        values = differences(found.outcomes[rows], found.scores["model"][rows], found.scores[other][rows], clusters)
        return self.bounded(measure, values, clusters, found.outcomes[rows] if self.judged.by_auc else None)

    def metrics(self) -> dict[str, tuple[str, Differences]]:
        """Return the metrics by which two models are compared: each with its name in words and the function of its differences."""
        judged = self.judged
        measure = f"difference in {judged.compared}" if judged.by_auc else share_of(judged.compared)
        found: dict[str, tuple[str, Differences]] = {
            HEADLINE: (
                measure,
                partial(comparisons.differences, judged, resamples=self.resamples, seed=self.given.seed),
            ),
        }
        if judged.form == "probability":
            found[LOG_LOSS] = (share_of("log loss"), self.log_losses)
        if not TASKS[self.given.target.task].is_number:
            found[CALIBRATION] = ("difference in calibration error", self._calibrations)
            if self.matrix:
                found[COST] = (share_of("cost"), self._costs)
        return found

    def alone(self, model: str = "model") -> dict[str, dict[str, Any]]:
        """Return the measures of one model, by name; those that have no meaning on these rows are left out."""
        outcomes, scores, drawn = self.predictions.outcomes, self.predictions.scores[model], self.blocks
        found = self.resampled(
            {
                name: (MEASURES[name].title, estimates.statistic(name, self.judged, outcomes, scores, drawn))
                for name in estimates.names(self.judged)
            }
        )
        if (
            headline := self.judged.headline
        ) not in found:  # many draws lack it, as with few positives; the others have it
            clusters = self.predictions.clusters
            settings = {"resamples": self.resamples, "seed": self.given.seed}
            values = comparisons.headlines(self.judged, outcomes, scores, clusters, **settings)
            if np.isfinite(values[0]):
                labels = outcomes if self.judged.by_auc else None
                found[headline] = self.bounded(MEASURES[headline].title, values, clusters, labels)
        return found

    def of_decisions(self) -> dict[str, dict[str, Any]]:
        """Return the cost of the served answers, of those that should cost least, and what the latter save; nothing without costs."""
        if not self.matrix or self.given.evaluate.decisions is None:
            return {}
        outcomes, scores = self.predictions.outcomes, self.predictions.scores["model"]
        currency = self.given.evaluate.decisions.currency
        unit = f" in {currency}" if currency else ""
        served = self._row_costs(outcomes, scores)
        best = costs.per_thousand(self.matrix, outcomes, costs.best_answers(self.judged.form, scores, self.matrix))
        named = {
            COST: (f"cost of a thousand decisions{unit}", served),
            BEST_COST: (f"cost of a thousand decisions{unit}, by the answers that should cost least", best),
            SAVED: (f"cost of a thousand decisions{unit} that these answers save", served - best),
        }
        return self.resampled({name: (words, parts.mean(each, self.blocks)) for name, (words, each) in named.items()})

    def resampled(self, statistics: Mapping[str, tuple[str, Statistic]]) -> dict[str, dict[str, Any]]:
        """Return each figure with its bounds, by name; one that has no meaning on these rows is left out.

        Args:
            statistics: by name the figure's words, and its function of the weights of `blocks`.
        """
        every = [statistic for _, statistic in statistics.values()]
        found = parts.resampled(every, self.blocks, resamples=self.resamples, seed=self.given.seed)
        return {
            name: self.bounded(words, values.bounds, self.predictions.clusters)
            for (name, (words, _)), values in zip(statistics.items(), found, strict=True)
            if values is not None
        }

    @cached_property
    def blocks(self) -> Clusters:
        """The clusters, or if they are many, blocks of them: what is drawn for the figures of one model."""
        return parts.blocks(self.predictions.clusters, self.given.seed)

    @property
    def log_losses(self) -> Differences:
        """The function of the differences in log loss."""
        return partial(comparisons.log_loss_differences, self.judged, resamples=self.resamples, seed=self.given.seed)

    def _calibrations(self, outcomes: Outcomes, scores: Scores, others: Scores, clusters: Clusters) -> Values:
        drawn = parts.blocks(clusters, self.given.seed)
        ours, theirs = (
            calibration.error_of(*pair, drawn)
            for pair in (calibration.binary(self.judged.form, outcomes, each) for each in (scores, others))
            if pair is not None
        )
        (found,) = parts.resampled([theirs - ours], drawn, resamples=self.resamples, seed=self.given.seed)
        if found is None:
            raise ValueError("every draw has rows, and so a calibration error")
        return found.bounds

    def _costs(self, outcomes: Outcomes, scores: Scores, others: Scores, clusters: NDArray[np.int64]) -> Values:
        return comparisons.saved(
            self._row_costs(outcomes, scores),
            self._row_costs(outcomes, others),
            clusters,
            resamples=self.resamples,
            seed=self.given.seed,
        )

    def _row_costs(self, outcomes: Outcomes, scores: Scores) -> Scores:
        answers = costs.served_answers(self.judged.form, scores, self.given.target.threshold)
        return costs.per_thousand(self.matrix, outcomes, answers)

    @property
    def matrix(self) -> costs.Matrix:
        """The costs of decisions; empty where there are none."""
        return self.given.evaluate.decisions.costs if self.given.evaluate.decisions else ()


def share_of(measure: str) -> str:
    """Return the words for a difference as a share of what the other model loses."""
    return f"share of the other's {measure} saved"
