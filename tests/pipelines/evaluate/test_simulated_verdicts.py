"""A short version of the drill of verdicts: hold-outs whose truth is known, judged by the code of the gates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from drills.training import verdicts


@pytest.fixture(scope="module")
def counted() -> Iterator[verdicts.Tally]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdicts, "_TRUTH_ROWS", 200_000)
        yield verdicts.tally(verdicts.Month(rows=150), 60, seed=5)


# Of 60 replications, what happens with a chance of less than one in ten thousand if the promise holds.


def test_intervals_by_days_hold_the_truth_and_those_by_rows_do_not(counted: verdicts.Tally) -> None:
    assert counted.covered >= 48
    assert counted.naive_covered < counted.covered


def test_counts_are_plain_numbers_which_the_results_can_hold(counted: verdicts.Tally) -> None:
    assert {type(value) for value in vars(counted).values()} == {int}


def test_model_that_is_worse_by_the_margin_is_seldom_promoted(counted: verdicts.Tally) -> None:
    assert counted.promoted <= 11


def test_error_of_delong_is_that_of_resampled_rows() -> None:
    random = np.random.default_rng(4)
    labels = random.integers(0, 2, 400).astype(np.int8)
    scores = labels * 0.4 + random.random(400)
    area, error = verdicts.delong(labels, scores)
    from pipelines.statistics import comparisons

    values = comparisons.areas(labels, scores, np.arange(400), resamples=2000, seed=1)
    assert area == pytest.approx(values[0])
    assert error == pytest.approx(values[1:].std(), rel=0.08)
