"""The families of models, by the names that `train.family` has (`pipelines.params.train`)."""

from __future__ import annotations

from pipelines.stages.train.families import boosting, linear
from pipelines.stages.train.family import Family

FAMILIES: dict[str, Family] = {
    "boosted": boosting,
    "linear": linear,
}
