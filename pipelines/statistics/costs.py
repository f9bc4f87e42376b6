"""Costs of decisions by a matrix: `matrix[actual][answered]` is the cost of one row; pure functions on arrays without NaN.

Source: Elkan 2001, The Foundations of Cost-Sensitive Learning.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.schema.tasks import Form
from pipelines.statistics.measures import Outcomes, Scores

Matrix = Sequence[Sequence[float]]
Answers = NDArray[np.int64]


def best_threshold(matrix: Matrix) -> float:
    """Return the probability of the second label from which answering it costs least, if the probabilities are right."""
    (right_negative, false_positive), (false_negative, right_positive) = matrix
    wrong_positive, wrong_negative = false_positive - right_negative, false_negative - right_positive
    return wrong_positive / (wrong_positive + wrong_negative)


def served_answers(form: Form, scores: Scores, threshold: float) -> Answers:
    """Return the index of the label that the server answers: by the threshold, or the most probable one."""
    answers: Answers = (scores >= threshold).astype(np.int64) if form == "probability" else scores.argmax(axis=1)
    return answers


def best_answers(form: Form, scores: Scores, matrix: Matrix) -> Answers:
    """Return the index of the label whose expected cost is smallest, if the probabilities are right."""
    if form == "probability":
        return served_answers(form, scores, best_threshold(matrix))
    # Not a product of matrices: its last bits depend on the processor.
    expected = np.stack([(scores * column).sum(axis=1) for column in np.array(matrix, np.float64).T], axis=1)
    answers: Answers = expected.argmin(axis=1)
    return answers


def per_thousand(matrix: Matrix, outcomes: Outcomes, answers: Answers) -> Scores:
    """Return the cost of each row, times a thousand, so that the mean is that of a thousand decisions."""
    costs: Scores = 1000 * np.array(matrix, np.float64)[outcomes.astype(np.int64), answers]
    return costs
