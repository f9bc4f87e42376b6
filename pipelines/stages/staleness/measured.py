"""The measurement of staleness: cut-offs, models, scores and the losses by age."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from contract.errors import DataRejectedError, ModelRejectedError
from contract.schema import schema as feature_schema
from contract.schema.schema import FeatureSchema
from pipelines import paths
from pipelines.machine import cluster
from pipelines.models import progress, tuning
from pipelines.models.engines.checkpoints import Checkpoints, Place
from pipelines.models.family import ALONE, Rows, Session
from pipelines.params.judging.split import TemporalSplit
from pipelines.params.judging.staleness import Staleness
from pipelines.params.params import Params
from pipelines.stages.staleness import ages, models
from pipelines.stages.staleness.ages import Rule, Scored
from pipelines.stages.staleness.models import CutOff, Trainer
from pipelines.stages.staleness.nothing import without
from pipelines.statistics.measures import MEASURES
from pipelines.statistics.tasks import judgement

RULE = (
    "On each month, models of all ages are compared with the freshest one (age 1) on the same rows, resampled by days; the months of an "
    "age are compared together. Retrain before the first age that is shown to lose more than the margin (gates.regression_margin), with "
    "95 % confidence for each age; if none is, at the last age of an unbroken run that is shown to lose no more."
)
HELD_FIXED = (
    "The features with their categories, bins, tables and weights, and the settings of training, are those of this run; only the rows that "
    "are learned differ. The tables hold no outcomes. The hold-out is not looked at."
)
_KEPT_AT_LEAST = 12  # models, of a few megabytes each


def measured(
    params: Params,
    asked: Staleness,
    months: Sequence[str],
    kept: Place | None,
    scratch: Callable[[], AbstractContextManager[Path]] | None,
) -> dict[str, Any]:
    """Return the content of `reports/staleness.json`; see `stage.run`.

    Args:
        months: those that have rows outside of the hold-out.
    """
    if not isinstance(params.split, TemporalSplit):
        return without("split.kind is not temporal")
    found = models.cut_offs(months, params.split, asked.models)
    if len(found) < 2:
        return without(
            f"split.validation, with its gap, leaves {len(found)} models that have a later month; two are needed: add months to "
            "data.months, or shorten split.validation"
        )
    checkpoints = Checkpoints(kept)
    session = ALONE if scratch is None else Session(scratch=scratch)
    with (
        session.scratch() as directory,
        progress.shown() as bar,
        cluster.client_of(params.train.cluster) as client,
    ):
        watched = replace(session, watch=bar, client=client)
        scored, left_out = _scored(params, asked, found, months, directory, checkpoints, watched)
    checkpoints.keep_newest(max(_KEPT_AT_LEAST, 2 * asked.models))
    return _told(params, scored, left_out) | {"study": identity(params)}


def identity(params: Params) -> dict[str, Any]:
    """Return all that the sentence depends on, but for the number of models and the code."""
    settings = tuning.applied(params.train, tuning.parameters())
    return {
        **models.identity(settings, _schema(), Rows(paths.TRAINING_ROWS)),
        "target": params.target.model_dump(mode="json"),
        "split": params.split.model_dump(mode="json"),
        "margin": params.gates.regression_margin,
        "fewest": params.gates.clusters,
        "resamples": params.evaluate.bootstrap,
    }


def _scored(
    params: Params,
    asked: Staleness,
    found: list[CutOff],
    months: Sequence[str],
    directory: Path,
    checkpoints: Checkpoints,
    session: Session,
) -> tuple[list[Scored], list[dict[str, str]]]:
    trainer = Trainer(params, _schema(), checkpoints, directory)
    scored, left_out = [], []
    for at in found:
        try:
            model = trainer.model(at, session)
        except (DataRejectedError, ModelRejectedError) as error:
            left_out.append({"trained_to": at.trained_to, "because": str(error)})
            continue
        for month in months[months.index(at.first) :]:
            each = Scored(at.trained_to, month, *models.score(model, month))
            if each.age_months <= asked.months:
                scored.append(each)
    return scored, left_out


def _schema() -> FeatureSchema:
    return FeatureSchema.from_bytes((paths.FEATURES / feature_schema.FILE_NAME).read_bytes())


def _told(params: Params, scored: list[Scored], left_out: list[dict[str, str]]) -> dict[str, Any]:
    judged = judgement(params.target)
    rule = Rule(
        judged, params.gates.regression_margin, params.gates.clusters, params.evaluate.bootstrap, params.train.seed
    )
    points, by_age = ages.curve(scored, rule)
    if not by_age:
        return without("no month has rows for two models of different ages", curve=points, left_out=left_out)
    every, sentence = ages.sentence(by_age, rule)
    return {
        "sentence": sentence,
        "because": None,
        "every_months": every,
        "rule": RULE,
        "held_fixed": HELD_FIXED,
        "measure": MEASURES[judged.headline].title,
        "compared": judged.compared,
        "by_auc": judged.by_auc,
        "margin": rule.margin,
        "fewest": rule.fewest,
        "unit": "days",
        "resamples": rule.resamples,
        "seed": rule.seed,
        "ages": by_age,
        "curve": points,
        "left_out": left_out,
    }
