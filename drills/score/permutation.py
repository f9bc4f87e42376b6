"""`python -m drills.score.permutation`, where the pipeline has run: the loss with each feature shuffled, as JSON by feature.

Source: Breiman 2001, Random Forests, section 10; a feature whose values are those of other rows tells the model nothing.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from contract.model.predictor import Predictor
from pipelines import paths
from pipelines.data import tables
from pipelines.params import file
from pipelines.stages.evaluate import holdout, live
from pipelines.statistics import comparisons
from pipelines.statistics.tasks import judgement

_RESAMPLES = 1000
_ROWS = 10_000  # evenly spaced


def shuffled() -> dict[str, dict[str, float]]:
    """Return by feature the importance, and the share of the loss that it saves, with one-sided 95 % bounds by cluster."""
    read = file.load()
    rule = live.champion()["learned"]
    held, _ = holdout.load(read.data, read.target, read.split, read.features, rule, read.train.seed)
    predictor, judged = Predictor.load(paths.BOOSTED), judgement(read.target)
    names = [field.name for field in predictor.schema.fields]
    every = slice(None, None, max(1, len(held.outcomes) // _ROWS))
    outcomes, clusters = held.outcomes[every], np.unique(held.clusters[every], return_inverse=True)[1]
    matrix = predictor.encoder.encode_table(tables.columns_of(held.table[every], names))
    whole = judged.losses(outcomes, predictor.score_matrix(matrix).astype(np.float64))
    importance = json.loads(paths.TRAINING.read_bytes())["importance"]
    random, found = np.random.default_rng(read.train.seed), {}
    for index, feature in enumerate(predictor.schema.features):
        without = matrix.copy()
        without[:, index] = random.permutation(matrix[:, index])
        losses = judged.losses(outcomes, predictor.score_matrix(without).astype(np.float64))
        saved = comparisons.saved(whole, losses, clusters, resamples=_RESAMPLES, seed=read.train.seed)
        found[feature.name] = {"importance": importance.get(feature.name, 0.0), **comparisons.bounded(saved)}
    return found


if __name__ == "__main__":
    json.dump(shuffled(), sys.stdout)
