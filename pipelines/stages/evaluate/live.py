"""The live model beside the judged one: its scores on the hold-out rows that are new to both, or the obstacles to a comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import BundleError
from contract.model import compatibility
from contract.model.predictor import Predictor
from contract.schema import schema
from contract.schema.schema import FeatureSchema
from contract.schema.tasks import TASKS
from pipelines import paths
from pipelines.columns.declared import served
from pipelines.data import tables
from pipelines.data.learned import UnknownRowsError
from pipelines.params.features.transforms import FeatureParams
from pipelines.params.params import Data, TargetParams
from pipelines.stages.evaluate.holdout import Holdout, score
from pipelines.statistics.comparable import obstacles
from pipelines.statistics.measures import Scores

# Share of the hold-out that the live model must not have learned from: a smaller part would be another hold-out.
_FEWEST = 0.5


@dataclass(frozen=True)
class Live:
    """The live model.

    Attributes:
        breaks: changes of the new model that break callers of this one.
        because: reasons why it cannot be compared; empty if it can.
        unseen: mask of the hold-out rows that it has not learned from, and is compared on.
        scores: of all rows of the hold-out.
    """

    digest: str
    breaks: tuple[str, ...] = ()
    because: tuple[str, ...] = ()
    unseen: NDArray[np.bool_] | None = None
    scores: Scores | None = None


def champion() -> dict[str, Any]:
    """Return the findings of the stage `champion`: the `digest`, None where nothing is live, and the rule of its `learned` rows."""
    found: dict[str, Any] = json.loads((paths.CHAMPION / "champion.json").read_bytes())
    return found


def judge(
    digest: str | None,
    data: Data,
    target: TargetParams,
    features: Mapping[str, FeatureParams],
    deprecated: Mapping[str, str],
    held: Holdout,
) -> Live | None:
    """Return the live model, scored where it can be compared; None where nothing is live."""
    if digest is None:
        return None
    try:
        predictor = Predictor.load(paths.CHAMPION)
    except BundleError as error:
        return Live(digest, because=(f"it cannot be read by this version: {error.message}",))
    trained = FeatureSchema.from_bytes((paths.BOOSTED / schema.FILE_NAME).read_bytes())
    new = served(trained, deprecated)
    found = Live(digest, tuple(map(str, compatibility.breaks(predictor.schema, new))))
    in_utc = tables.columns_in_utc(*map(paths.accepted, data.months))
    if because := tuple(map(str, obstacles(predictor.schema, data, target, features, in_utc))):
        return replace(found, because=because)
    if isinstance(held.unseen_by_live, UnknownRowsError):
        return replace(found, because=(str(held.unseen_by_live),))
    if why := _too_few(held.unseen_by_live, target.task, held):
        return replace(found, because=(why,))
    return replace(found, unseen=held.unseen_by_live, scores=score(predictor, held))


def _too_few(unseen: NDArray[np.bool_], task: str, held: Holdout) -> str | None:
    learned = (
        f"it has learned from {int((~unseen).sum()):,} of the {len(unseen):,} rows of the hold-out (its split "
        "differed, or its data is newer): hold out newer rows, or restore its split, data.key and features"
    )
    if unseen.mean() < _FEWEST:
        return learned
    if TASKS[task].has_positive and not 0 < held.outcomes[unseen].sum() < unseen.sum():
        return f"{learned}; the other rows have one label alone"
    return None
