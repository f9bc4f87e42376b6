"""`train` of `params.yaml`: the family of models, and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

from pydantic import Field

from pipelines.params.types import Model

_DEFAULT = "boosted"


class FamilyParams(Model):
    """The settings of every family.

    Attributes:
        importance_of: the quantity of which the importance of a feature is a share, in a word.
    """

    importance_of: ClassVar[str]

    seed: int = Field(description="Seed of random choices in training, and of the resamples for confidence bounds.")


class BoostedParams(FamilyParams):
    """Settings of XGBoost, under its own names; `threads` changes the time, not the model."""

    importance_of = "gain"

    family: Literal["boosted"] = Field(default="boosted", description="Boosted trees by XGBoost. The default.")
    max_depth: int = Field(default=6, ge=1, le=20, description="Largest depth of a tree.")
    learning_rate: float = Field(default=0.1, gt=0, le=1, description="Factor that shrinks each tree's contribution.")
    min_child_weight: float = Field(default=1.0, ge=0, description="Smallest sum of hessians in a leaf.")
    subsample: float = Field(default=1.0, gt=0, le=1, description="Share of the rows that each tree sees.")
    colsample_bytree: float = Field(default=1.0, gt=0, le=1, description="Share of the features that each tree sees.")
    max_rounds: int = Field(default=1000, ge=1, description="Largest number of boosting rounds.")
    early_stopping_rounds: int = Field(
        default=50, ge=1, description="Rounds without improvement on the validation part after which boosting stops."
    )
    threads: int = Field(default=2, ge=1, description="Threads. Changes the time, not the model.")


class LinearParams(FamilyParams):
    """Settings of the linear baseline; to serve it as the model, `gates.linear_margin` must be above 0."""

    importance_of = "spread"

    family: Literal["linear"] = Field(description="Logistic or ridge regression, by scikit-learn.")


Train = BoostedParams | LinearParams
FAMILIES: dict[str, type[FamilyParams]] = {
    get_args(each.model_fields["family"].annotation)[0]: each for each in get_args(Train)
}


def with_family(raw: Any) -> Any:
    """Return the section with a family, by default boosted trees."""
    return {"family": _DEFAULT, **raw} if isinstance(raw, Mapping) else raw
