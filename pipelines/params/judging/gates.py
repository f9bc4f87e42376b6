"""`gates` of `params.yaml`: the conditions of approval."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipelines.params.types import Model, Share

FairnessGap = Literal["rate", "true_positive_rate", "false_positive_rate", "error_rate", "calibration_gap"]


class Gates(Model):
    """Conditions of approval; margins are ROC-AUC for a binary target, else a share of the other model's loss.

    Source: of `clusters`, Cameron, Miller 2015, A Practitioner's Guide to Cluster-Robust Inference, VI: "few" clusters are fewer than 20
    to fewer than 50.
    """

    regression_margin: float = Field(
        default=0.01,
        ge=0,
        le=0.5,
        description="Largest loss of a new model against the live one, with 95 % confidence.",
    )
    linear_margin: float = Field(
        default=0.0, ge=0, le=0.5, description="Largest loss of a new model against the linear baseline."
    )
    calibration_margin: float = Field(
        default=0.01,
        ge=0,
        le=0.5,
        description="Largest rise of the log loss through `train.calibration`, as a share, with 95 % confidence.",
    )
    log_loss_margin: Annotated[float, Field(ge=0, le=0.5)] | None = Field(
        default=None,
        description="Binary targets: largest rise of the log loss against the live model, as a share, with 95 % confidence. Null: shown, "
        "not asked for.",
    )
    calibration_error_margin: Annotated[float, Field(ge=0, le=0.5)] | None = Field(
        default=None,
        description="Targets with labels: largest rise of the calibration error against the live model, with 95 % confidence. Null: "
        "shown, not asked for.",
    )
    cost_margin: Annotated[float, Field(ge=0, le=0.5)] | None = Field(
        default=None,
        description="With `evaluate.decisions`: largest rise of the cost against the live model, as a share, with 95 % confidence. Null: "
        "shown, not asked for.",
    )
    calibration_error: Share | None = Field(
        default=None,
        description="Targets with labels: largest calibration error on the hold-out, with 95 % confidence. Null: shown, not asked for.",
    )
    cost: float | None = Field(
        default=None,
        description="With `evaluate.decisions`: largest cost of a thousand decisions on the hold-out, with 95 % confidence. Null: shown, "
        "not asked for.",
    )
    slice_margin: Annotated[float, Field(gt=0, le=0.5)] | None = Field(
        default=None,
        description="With `evaluate.slices`: largest loss of a slice against the live model. Null: shown, not asked for.",
    )
    slices: Literal["some", "every"] = Field(
        default="some",
        description="With `slice_margin`. `some`: the gate fails if some slice is shown to lose more (Holm's correction for their number). "
        "`every`: it passes only if every slice is shown not to lose as much, each with 95 % confidence; small ones leave it undecided.",
    )
    fairness_gap: dict[FairnessGap, Annotated[float, Field(gt=0, lt=1)]] = Field(
        default={},
        description="With columns marked `protected`: largest gap between two groups, with 95 % confidence, by figure, such as "
        "`{true_positive_rate: 0.1}`. Those not named are shown, not asked for: where base rates differ, not all can be equal.",
    )
    undecided: Literal["hold", "reject", "approve"] = Field(
        default="hold",
        description="Meaning of a gate whose bounds do not decide: the model is held for a person, rejected or approved.",
    )
    feature_auc: float = Field(
        default=0.99, ge=0.5, le=1, description="Largest ROC-AUC of one feature alone. More counts as a leak."
    )
    disguise: float = Field(
        default=0.99,
        gt=0,
        le=1,
        description="Largest share of all errors that one feature may avoid alone. More counts as the target in disguise.",
    )
    reviewed: tuple[str, ...] = Field(
        default=(),
        description="Features that may exceed `feature_auc` or look like an identifier: a person has verified that they are known before "
        "the outcome and measure something.",
    )
    entity: str | None = Field(
        default=None, description="Column whose values may not be both in training and in the hold-out."
    )
    clusters: int = Field(
        default=20,
        ge=2,
        description="Fewest days, entities or rows of the hold-out over which a bound decides. With fewer, a model that would pass "
        "is held for a person.",
    )
    looks: int = Field(
        default=20,
        ge=1,
        description="Most models that one hold-out may judge before `publish` refuses the next: of 20 models that are no better than the "
        "live one, one passes a test at 95 % with a chance of 64 %.",
    )
    replaces: Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")] | None = Field(
        default=None,
        description="A person's decision that the live bundle with this digest (8 characters or more, in quotes) may be replaced "
        "without a comparison.",
    )
