"""Tests on resampled figures, Holm's correction, and the power of both."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest
from scipy import stats

from harness import PROJECT
from pipelines.statistics import multiplicity, parts

RANDOM = np.random.default_rng(5)
# statsmodels lies in the environment of the peers, not in the one that is tested.
PEERS = PROJECT / ".venv/bench"
HOLM = """
import json, sys
from statsmodels.stats.multitest import multipletests
print(json.dumps([multipletests(found, method="holm")[1].tolist() for found in json.load(sys.stdin)]))
"""


def test_holm_is_the_procedure_step_by_step() -> None:
    # By hand: 0.01 x 4, then max(0.02 x 3, .), max(0.03 x 2, .), max(0.9, .).
    assert multiplicity.holm([0.03, 0.01, 0.9, 0.02]) == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert multiplicity.holm([]) == []
    assert multiplicity.holm([0.6, 0.7]) == [1.0, 1.0]


@pytest.mark.skipif(not list(PEERS.glob("lib/*/site-packages/statsmodels")), reason="no statsmodels in .venv/bench")
def test_holm_agrees_with_statsmodels_when_values_tie_and_are_many() -> None:
    cases = [RANDOM.random(size).round(digits).tolist() for size in (1, 2, 7, 200) for digits in (1, 6)]
    cases = [[min(value, 1.0) ** power for value in case] for case in cases for power in (1, 4)]
    command = [str(PEERS / "bin/python"), "-c", HOLM]
    done = subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True, check=True)
    for ours, theirs in zip(cases, json.loads(done.stdout), strict=True):
        assert multiplicity.holm(ours) == pytest.approx(theirs, rel=1e-5)


def test_p_value_is_that_of_a_t_test_of_cluster_means() -> None:
    means = RANDOM.normal(-0.3, 1, 25)
    drawn = [means[RANDOM.integers(0, 25, 25)].mean() for _ in range(20_000)]
    found = multiplicity.p_below(np.array([means.mean(), *drawn]), 0.0, 25)
    assert found == pytest.approx(stats.ttest_1samp(means, 0, alternative="less").pvalue, rel=0.15)


def test_figure_that_never_varies_has_a_certain_test() -> None:
    values = np.zeros(50)
    assert multiplicity.p_below(values, -0.1, 30) == 1.0
    assert multiplicity.p_below(values, 0.1, 30) == 0.0


def test_detectable_difference_is_found_four_times_of_five() -> None:
    clusters, spread = 30, 0.02
    size = multiplicity.detectable(np.concatenate([[0.0], RANDOM.normal(0, spread, 50_000)]), clusters)
    found = RANDOM.normal(-size, spread, 20_000)
    spreads = spread * np.sqrt(RANDOM.chisquare(clusters - 1, 20_000) / (clusters - 1))
    assert np.mean(stats.t.cdf(found / spreads, clusters - 1) <= 0.05) == pytest.approx(0.8, abs=0.02)


def test_statistic_of_a_part_is_that_of_its_rows_repeated_by_weight() -> None:
    clusters = np.array([0, 0, 2, 2, 3, 3, 3])
    labels, scores = np.array([0, 1, 1, 0, 1, 0, 1]), np.array([0.2, 0.7, 0.4, 0.4, 0.1, 0.6, 0.9])
    weights = np.array([[1.0, 1, 1, 1, 1], [2, 5, 1, 0, 9]])
    repeated = np.repeat(np.arange(7), weights[1, clusters].astype(int))
    from sklearn.metrics import roc_auc_score

    areas, _ = parts.area(labels, scores, clusters).of(weights)
    assert areas == pytest.approx([roc_auc_score(labels[rows], scores[rows]) for rows in (slice(None), repeated)])
    means, _ = parts.mean(scores, clusters).of(weights)
    assert means == pytest.approx([scores.mean(), scores[repeated].mean()])


def test_figure_that_many_resamplings_lack_has_no_bounds() -> None:
    clusters = np.arange(10)
    rare = parts.share(clusters == 0, clusters, clusters == 0)
    common = parts.mean(np.ones(10), clusters)
    found = parts.resampled([rare, common], clusters, resamples=200, seed=1)
    assert (found[0], found[1] is not None) == (None, True)
