"""The families of models, by the names that `train.family` has (`pipelines.params.train`)."""

from __future__ import annotations

from pipelines.models.families import boosting, linear
from pipelines.models.family import Family

FAMILIES: dict[str, Family] = {
    "boosted": boosting,
    "linear": linear,
}
