"""Losses of single rows; pure functions on arrays without NaN. Each returns float64 of shape (rows,), smaller where the score is better.

Their last bits do not depend on the processor: NumPy's logarithm and exponential would.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Outcomes = NDArray[Any]
Scores = NDArray[np.float64]
_SMALLEST_MEAN = 1e-9  # a predicted mean of 0 or less counts as this


def squared_errors(outcomes: Outcomes, scores: Scores) -> Scores:
    """Return the squared error of each row."""
    squared: Scores = (outcomes - scores) ** 2
    return squared


def absolute_errors(outcomes: Outcomes, scores: Scores) -> Scores:
    """Return the absolute error of each row."""
    absolute: Scores = np.abs(outcomes - scores)
    return absolute


def huber_losses(outcomes: Outcomes, scores: Scores, *, slope: float) -> Scores:
    """Return the pseudo-Huber loss of each row: half the squared error near 0, and `slope` times the error far from it.

    Source: Charbonnier, Blanc-Féraud, Aubert, Barlaud 1997, Deterministic edge-preserving regularization in computed imaging.
    """
    losses: Scores = slope**2 * (np.sqrt(1 + ((outcomes - scores) / slope) ** 2) - 1)
    return losses


def deviances(outcomes: Outcomes, scores: Scores, *, power: float) -> Scores:
    """Return the unit deviance of each row where the variance grows with this power of the mean: 1 Poisson, 2 gamma, between Tweedie.

    Source: Jørgensen 1997, The Theory of Dispersion Models.
    """
    from scipy.special import xlogy

    means = np.maximum(scores, _SMALLEST_MEAN)
    if power == 1:
        poisson: Scores = 2 * (xlogy(outcomes, outcomes / means) - outcomes + means)
        return poisson
    ratios = outcomes / means
    if power == 2:
        gamma: Scores = 2 * (ratios - 1 - xlogy(1.0, ratios))
        return gamma
    # y^(2-p) / ((1-p)(2-p)) - y m^(1-p) / (1-p) + m^(2-p) / (2-p), twice
    scale = _powers(means, 2 - power)
    tweedie: Scores = (
        2 * scale * (_powers(ratios, 2 - power) / ((1 - power) * (2 - power)) - ratios / (1 - power) + 1 / (2 - power))
    )
    return tweedie


def pinball_losses(outcomes: Outcomes, scores: Scores, *, quantiles: tuple[float, ...]) -> Scores:
    """Return the pinball loss of each row, the mean over its quantiles; `scores` has the shape (rows, levels).

    Source: Koenker, Bassett 1978, Regression Quantiles.
    """
    levels = np.array(quantiles)
    above = outcomes[:, None] - scores
    losses: Scores = np.maximum(levels * above, (levels - 1) * above).mean(axis=1)
    return losses


def log_losses(codes: Outcomes, scores: Scores) -> Scores:
    """Return the log loss of each row in nats, of probabilities from the smallest float64 step up."""
    from scipy.special import xlogy

    chances = scores[np.arange(len(codes)), codes]
    losses: Scores = -xlogy(1.0, np.clip(chances, np.finfo(np.float64).eps, 1.0))
    return losses


def _powers(numbers: Scores, power: float) -> Scores:
    """Return each number, from 0, to a power above 0."""
    return np.array([number**power for number in numbers.tolist()])
