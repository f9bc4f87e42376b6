"""The families of models, by the names that `train.family` has (`pipelines.params.train`)."""

from __future__ import annotations

from pipelines.models.families import boosting, forest, histogram, linear
from pipelines.models.family import CalibratableFamily

FAMILIES: dict[str, CalibratableFamily] = {
    "gbtree": boosting,
    "dart": boosting,
    "forest": forest,
    "histogram": histogram,
    "linear": linear,
}
