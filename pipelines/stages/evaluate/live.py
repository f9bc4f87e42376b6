"""The live model beside the one that is judged: on which rows of the hold-out the two can be compared, or why on none."""

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
from pipelines.params.params import Data, TargetParams
from pipelines.stages.evaluate.holdout import Holdout, score
from pipelines.statistics.comparable import obstacles
from pipelines.statistics.measures import Scores

_FEWEST = (
    0.5  # share of the hold-out that the live model must not have learned from: a smaller part is another hold-out
)


@dataclass(frozen=True)
class Live:
    """The live model.

    Attributes:
        breaks: what breaks its callers when the new model answers them.
        because: why it cannot be compared; nothing if it can.
        unseen: which rows of the hold-out it has not learned from, and is compared on.
        scores: of all rows of the hold-out.
    """

    digest: str
    breaks: tuple[str, ...] = ()
    because: tuple[str, ...] = ()
    unseen: NDArray[np.bool_] | None = None
    scores: Scores | None = None


def champion() -> dict[str, Any]:
    """What the stage `champion` found: the `digest`, None where nothing is live, and the rule of its `learned` rows."""
    found: dict[str, Any] = json.loads((paths.CHAMPION / "champion.json").read_bytes())
    return found


def judge(
    digest: str | None, data: Data, target: TargetParams, deprecated: Mapping[str, str], held: Holdout
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
    if because := tuple(map(str, obstacles(predictor.schema, data, target, in_utc))):
        return replace(found, because=because)
    if isinstance(held.unseen_by_live, UnknownRowsError):
        return replace(found, because=(str(held.unseen_by_live),))
    if why := _too_few(held.unseen_by_live, target.task, held):
        return replace(found, because=(why,))
    return replace(found, unseen=held.unseen_by_live, scores=score(predictor, held))


def _too_few(unseen: NDArray[np.bool_], task: str, held: Holdout) -> str | None:
    learned = (
        f"it has learned from {int((~unseen).sum()):,} of the {len(unseen):,} rows of the hold-out (its split was another one, or "
        "its data newer): hold out rows that are newer, or restore split, data.key and features as they were"
    )
    if unseen.mean() < _FEWEST:
        return learned
    if TASKS[task].has_positive and not 0 < held.outcomes[unseen].sum() < unseen.sum():
        return f"{learned}; the others have one label alone"
    return None
