"""kill -9 at random moments of real runs: a few of the drill's hundred."""

from __future__ import annotations

from drills.training.kills import kills


def test_killed_runs_end_with_the_digests_of_an_undisturbed_one() -> None:
    everywhere, in_train = kills(seed=2, count=4, in_train=2)
    assert (everywhere.requests, everywhere.failed) == (4, 0)
    assert (in_train.requests >= 2, in_train.failed) == (True, 0)
