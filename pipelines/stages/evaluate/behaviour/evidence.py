"""Every expectation tried on rows of the hold-out and on golden rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from contract.model.predictor import Predictor
from pipelines.columns.golden import golden_rows
from pipelines.data import tables
from pipelines.params.features.transforms import FeatureParams
from pipelines.params.judging.behaviour import Behaviour
from pipelines.stages.evaluate.behaviour.trials import Trial, sample, tried, unchanged_histories
from pipelines.stages.evaluate.holdout import Labelled
from pipelines.statistics.measures import Scores


class Tried(NamedTuple):
    """The trials, in the order of the expectations.

    Attributes:
        changes: of the score of each row of the hold-out.
        golden: the trials on golden rows, which are drawn from the schema: no row of anyone, so that a bundle may hold them.
        examples: of each expectation the row of the hold-out with the largest change against it. It never enters a bundle.
    """

    changes: tuple[Scores, ...]
    golden: list[dict[str, Any]]
    examples: list[dict[str, Any]]


def collect(
    expectations: Sequence[Behaviour],
    features: Mapping[str, FeatureParams],
    predictor: Predictor,
    held: Labelled,
    scores: Scores,
) -> Tried:
    """Return the trials of all expectations.

    Args:
        scores: of the hold-out by the predictor.
    """
    if not expectations:
        return Tried((), [], [])
    names = [field.name for field in predictor.schema.fields]
    rows = golden_rows(predictor.schema)
    golden = {name: [row.get(name) for row in rows] for name in names}
    golden_scores = predictor.score_table(golden).astype(np.float64)
    found = Tried((), [], [])
    for expectation in expectations:
        chosen = sample(held.table.height, expectation, predictor.schema)
        columns = tables.columns_of(held.table[chosen], names)
        trial = tried(expectation, predictor, columns, scores[chosen])
        changes = np.full(held.table.height, np.nan)
        changes[chosen] = trial.changes
        found.examples.append({"name": expectation.name, "worst": trial.worst})
        shown = _shown(tried(expectation, predictor, golden, golden_scores))
        found.golden.append(shown | {"histories": unchanged_histories(expectation, features)})
        found = found._replace(changes=(*found.changes, changes))
    return found


def _shown(trial: Trial) -> dict[str, Any]:
    rows = int((~np.isnan(trial.changes)).sum())
    return {"name": trial.expectation.name, "rows": rows, "violations": trial.violations, "worst": trial.worst}
