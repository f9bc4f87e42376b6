"""Calibrators: functions from a model's margins to probabilities, fitted on the validation rows; each writes its own ONNX nodes.

A calibrator is fitted on the margins of the model that the validation rows stopped, which has not learned from them. The model that
is served is then trained on all rows, with as many rounds, and has the same calibrator, as in scikit-learn's `CalibratedClassifierCV`
with `ensemble=False`. On rows that a model has learned from its margins are too far apart, and a calibrator would leave them so.
 Source: Niculescu-Mizil, Caruana 2005, Predicting Good Probabilities with Supervised Learning, 4: an independent calibration set.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from contract.errors import DataRejectedError, ModelRejectedError
from contract.schema.schema import Target
from pipelines.data.cuts import quantile_edges
from pipelines.models.graph import CALIBRATED, MARGINS, Link, tensor
from pipelines.params.features.transforms import MINIMUM_COUNT

# Enough for every bend that a month can show; each bin's share of a month's rows is then a hundredth.
_BINS = 100
_DIGITS = 6  # the solvers agree on more of them on every processor
_STEEPEST = 10.0  # natural logarithm of the largest factor of the margins; the bounds of scikit-learn
Margins = NDArray[Any]
Numbers = NDArray[np.float64]


class Calibrator(Protocol):
    """A fitted calibrator."""

    @property
    def link(self) -> Link:
        """The function from `CALIBRATED` to the scores."""

    @property
    def told(self) -> dict[str, Any]:
        """Its parameters, for `training.json`."""

    def probabilities(self, margins: Margins) -> Numbers:
        """Return the probabilities by SciPy or scikit-learn, in the shape of the margins."""

    def nodes(self) -> tuple[list[Any], list[Any]]:
        """Return the ONNX nodes from `MARGINS` to `CALIBRATED`, and their constants."""


def fit(method: str, margins: Margins, outcomes: NDArray[Any], target: Target) -> Calibrator:
    """Return the calibrator of that name, fitted on the validation rows.

    Args:
        margins: of shape (rows,), or (rows, labels), by a model that has not learned from these rows.
        outcomes: the index of each row's label.

    Raises:
        DataRejectedError: a label has no validation row.
        ModelRejectedError: the margins rank the rows no better than chance, so that no calibrator helps.
    """
    counts = np.bincount(outcomes.astype(np.int64), minlength=len(target.labels)).tolist()
    if missing := [label for label, rows in zip(target.labels, counts, strict=True) if not rows]:
        raise DataRejectedError(
            f"train.calibration: {method}: none of the {sum(counts):,} validation rows is {missing[0]!r}; enlarge "
            "split.validation, or set it to none"
        )
    return CALIBRATORS[method](margins.astype(np.float64), outcomes.astype(np.int64))


@dataclass(frozen=True)
class Scaling:
    """The logistic function or the softmax of `slope` × margin + `intercept`.

    Platt's sigmoid has both parameters; temperature scaling has the slope alone, which is 1 / temperature.
    """

    slope: float
    intercept: float = 0.0
    link: Link = "logistic"

    @property
    def told(self) -> dict[str, Any]:
        """The two parameters."""
        return {"slope": self.slope, "intercept": self.intercept}

    def probabilities(self, margins: Margins) -> Numbers:
        """Return the logistic function or the softmax of the scaled margins, by SciPy."""
        from scipy.special import expit, softmax

        scaled = self.slope * margins.astype(np.float64) + self.intercept
        found: Numbers = softmax(scaled, axis=1) if scaled.ndim == 2 else expit(scaled)
        return found

    def nodes(self) -> tuple[list[Any], list[Any]]:
        """Return the nodes of a product and a sum."""
        from onnx import helper

        numbers = {"scale_slope": self.slope, "scale_intercept": self.intercept}
        nodes = [
            helper.make_node("Mul", [MARGINS, "scale_slope"], ["scale_product"]),
            helper.make_node("Add", ["scale_product", "scale_intercept"], [CALIBRATED]),
        ]
        return nodes, [tensor(name, np.array([value], np.float32)) for name, value in numbers.items()]


def sigmoid(margins: Margins, outcomes: NDArray[np.int64]) -> Scaling:
    """Return the logistic regression of the outcomes on the margins, with outcomes drawn in by one row of each label.

    Source: Platt 1999, Probabilistic Outputs for Support Vector Machines, 2.2.
    """
    from sklearn.linear_model import LogisticRegression

    if not np.ptp(margins):
        return Scaling(1.0)  # nothing was learned, and `evaluate` says so
    positive = int(outcomes.sum())
    negative = len(outcomes) - positive
    drawn = np.where(outcomes == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    # Each row once as positive and once as negative, weighted: scikit-learn takes no share as an outcome.
    column = np.concatenate([margins, margins])[:, np.newaxis]
    labels = np.repeat([1, 0], len(margins))
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=300)
    model.fit(column, labels, np.concatenate([drawn, 1 - drawn]))
    return Scaling(_ascending(float(model.coef_[0, 0])), _rounded(float(model.intercept_[0])))


def temperature(margins: Margins, outcomes: NDArray[np.int64]) -> Scaling:
    """Return the one factor of the margins with the smallest log loss; it leaves the order of labels and rows as it is.

    Source: Guo, Pleiss, Sun, Weinberger 2017, On Calibration of Modern Neural Networks.
    """
    from scipy.optimize import brentq
    from scipy.special import softmax

    logits = np.stack([np.zeros(len(margins)), margins], axis=1) if margins.ndim == 1 else margins
    link: Link = "logistic" if margins.ndim == 1 else "softmax"
    logits = logits - logits.max(axis=1, keepdims=True)
    if not np.ptp(logits, axis=0).any():
        return Scaling(1.0, link=link)
    own = logits[np.arange(len(outcomes)), outcomes]

    def derivative(power: float) -> float:
        expected = (softmax(math.exp(power) * logits, axis=1) * logits).sum(axis=1)
        return math.fsum((expected - own).tolist())

    # The log loss is convex in the factor: its derivative has one root, which is exact where a minimum's place is not.
    if derivative(-_STEEPEST) >= 0:
        return Scaling(_ascending(0.0), link=link)
    if derivative(_STEEPEST) <= 0:
        return Scaling(_rounded(math.exp(_STEEPEST)), link=link)
    return Scaling(_rounded(math.exp(brentq(derivative, -_STEEPEST, _STEEPEST, xtol=1e-12))), link=link)


@dataclass(frozen=True)
class Isotonic:
    """A non-decreasing function, linear between its knots and constant beyond them.

    Attributes:
        margins: float32 numbers in ascending order, distinct; no value of a row, but a mean of `MINIMUM_COUNT` rows or more.
        chances: the probability at each.
    """

    margins: Numbers
    chances: Numbers
    link: Link = "identity"

    @property
    def told(self) -> dict[str, Any]:
        """The number of knots."""
        return {"knots": len(self.margins)}

    def probabilities(self, margins: Margins) -> Numbers:
        """Return the probabilities by scikit-learn's isotonic regression, whose knots these are."""
        from sklearn.isotonic import IsotonicRegression

        model = IsotonicRegression(out_of_bounds="clip").fit(self.margins, self.chances)
        found: Numbers = model.predict(margins.astype(np.float64))
        return found

    def nodes(self) -> tuple[list[Any], list[Any]]:
        """Return nodes that count the knots below a margin, and look up the segment that starts there.

        They compute in double precision, as the library does: in single precision neighbouring rows would change places.
        """
        from onnx import TensorProto, helper

        rises = np.diff(self.chances) / np.diff(self.margins)
        tables = {
            "segment_starts": np.concatenate([self.margins[:1], self.margins]),
            "segment_chances": np.concatenate([self.chances[:1], self.chances]),
            "segment_rises": np.concatenate([[0.0], rises, [0.0]]),
        }
        constants = [tensor("knots", self.margins.astype(np.float32)), tensor("knot_axis", np.array([1], np.int64))]
        constants += [tensor(name, values) for name, values in tables.items()]
        nodes = [
            helper.make_node("Less", ["knots", MARGINS], ["is_below"]),
            helper.make_node("Cast", ["is_below"], ["is_below_number"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", ["is_below_number", "knot_axis"], ["knots_below"]),
            helper.make_node("Cast", ["knots_below"], ["segment"], to=TensorProto.INT64),
            *(helper.make_node("Gather", [name, "segment"], [f"own_{name}"]) for name in tables),
            helper.make_node("Cast", [MARGINS], ["margins_double"], to=TensorProto.DOUBLE),
            helper.make_node("Sub", ["margins_double", "own_segment_starts"], ["beyond"]),
            helper.make_node("Mul", ["beyond", "own_segment_rises"], ["rise"]),
            helper.make_node("Add", ["own_segment_chances", "rise"], ["calibrated_double"]),
            helper.make_node("Cast", ["calibrated_double"], [CALIBRATED], to=TensorProto.FLOAT),
        ]
        return nodes, constants


def isotonic(margins: Margins, outcomes: NDArray[np.int64]) -> Isotonic:
    """Return scikit-learn's isotonic regression on bins of the rows, at most 100 with equally many each.

    A knot is the mean margin of a bin and its share of positive outcomes, with one more row at the mean outcome: no knot is a row's,
    and none is 0 or 1, which one row of the other label would prove wrong.
    """
    from sklearn.isotonic import IsotonicRegression

    single = margins.astype(np.float32)  # as the exported model gives them
    edges, margins = quantile_edges(single, _BINS, MINIMUM_COUNT), single.astype(np.float64)
    places = np.searchsorted(np.array(edges), margins)
    rows = np.bincount(places, minlength=len(edges) + 1)
    # Exact sums: those of NumPy have other last bits on another processor.
    means = np.array([math.fsum(margins[places == place].tolist()) for place in range(len(rows))]) / rows
    shares = (np.bincount(places, outcomes, len(rows)) + outcomes.mean()) / (rows + 1)
    pooled = IsotonicRegression().fit(means, shares, sample_weight=rows)
    knots = np.array([_rounded(value) for value in pooled.X_thresholds_.tolist()]).astype(np.float32)
    kept = np.concatenate([[True], np.diff(knots) > 0])
    chances = np.array([_rounded(value) for value in pooled.y_thresholds_.tolist()])
    return Isotonic(knots[kept].astype(np.float64), chances[kept])


def _ascending(slope: float) -> float:
    if slope <= 0:
        raise ModelRejectedError(
            "train.calibration: the outcomes of the validation rows do not rise with the model's scores, so that no calibration "
            "helps; the rows before them predict nothing of them"
        )
    return _rounded(slope)


def _rounded(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")


CALIBRATORS: dict[str, Callable[[Margins, NDArray[np.int64]], Calibrator]] = {
    "sigmoid": sigmoid,
    "isotonic": isotonic,
    "temperature": temperature,
}
