"""`train` of `params.yaml`: the family of models, and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

from pydantic import Field

from contract.schema.tasks import TASKS, Form
from pipelines.params.features.transforms import FeatureParams
from pipelines.params.target import TargetParams
from pipelines.params.tune import Range
from pipelines.params.types import Model, Seed, matching

_DEFAULT = "gbtree"
Address = Annotated[str, matching(r"(tcp|tls)://\S+:\d+", "must be an address such as tcp://10.0.0.5:8786")]


class ClusterParams(NamedTuple):
    """A Dask cluster: the number of its processes on this machine, or the address of its scheduler."""

    workers: int
    scheduler: str | None


class FamilyParams(Model):
    """The settings of every family.

    Attributes:
        importance_of: the quantity of which the importance of a feature is a share, in a word.
        space: the settings that `tune` may search, with the values that it does by default.
        calibrations: the values of `calibration` by form of answer, but for numbers. Of many labels one factor keeps the order of
            labels; functions for one label each would not.
        objectives: those that it can learn (`contract.schema.tasks`); None for all.
    """

    importance_of: ClassVar[str]
    space: ClassVar[Mapping[str, Range]] = {}
    calibrations: ClassVar[Mapping[Form, tuple[str, ...]]] = {
        "probability": ("none", "sigmoid", "isotonic", "temperature"),
        "probabilities": ("none", "temperature"),
    }
    objectives: ClassVar[frozenset[str] | None] = None

    seed: Seed = Field(description="Seed of random choices in training, and of the resamples for confidence bounds.")
    calibration: Literal["none", "sigmoid", "isotonic", "temperature"] = Field(
        default="none",
        description="Function from the model's scores to its probabilities, fitted on the validation rows: `sigmoid` (Platt), `isotonic` "
        "(non-decreasing, linear between its knots), `temperature` (one factor). Multiclass: `temperature` only. Regression: none.",
    )

    @property
    def lock(self) -> str:
        """The lock of the environment that trains, relative to the project."""
        return "requirements/pipeline.txt"

    @property
    def cluster(self) -> ClusterParams | None:
        """The Dask cluster that trains; None: this process does."""
        return None

    def check(self, features: Mapping[str, FeatureParams], target: TargetParams) -> None:
        """Raise ValueError if the settings do not suit the features or the target."""
        del features  # constraints of other families name them
        objective, task = target.judged_by.name, TASKS[target.task]
        if self.objectives is not None and objective not in self.objectives:
            known = [each.name for other in TASKS.values() for each in other.objectives if each.name in self.objectives]
            family = getattr(self, "family", "")
            raise ValueError(
                f"train.family {family} cannot learn the objective {objective}; allowed: {', '.join(known)}"
            )
        allowed = self.calibrations.get(task.form, ("none",))
        if self.calibration not in allowed:
            raise ValueError(
                f"train.calibration {self.calibration} does not fit a {target.task} target; allowed: {', '.join(allowed)}"
            )


class TreeParams(FamilyParams):
    """Settings of trees; `threads` changes the time, not the model."""

    importance_of = "gain"

    max_depth: int = Field(default=6, ge=1, le=20, description="Largest depth of a tree.")
    monotone: dict[str, Literal["increasing", "decreasing"]] = Field(
        default={},
        description="By feature, the direction in which the prediction may change with its value, all others equal. Of a binary "
        "target it is the probability of the positive label.",
    )
    interactions: tuple[Annotated[tuple[str, ...], Field(min_length=1)], ...] = Field(
        default=(),
        description="Groups of features that may meet on one path of a tree, such as `[[origin, dest], [temp, dewp]]`. Features in no "
        "group form one more. Empty: all may meet.",
    )
    threads: int = Field(default=2, ge=1, description="Threads. Changes the time, not the model.")

    def check(self, features: Mapping[str, FeatureParams], target: TargetParams) -> None:
        """Raise ValueError for a constraint on an unknown feature, or one that would not hold."""
        super().check(features, target)
        for key, names in (
            ("monotone", tuple(self.monotone)),
            *(("interactions", group) for group in self.interactions),
        ):
            if unknown := [name for name in names if name not in features]:
                raise ValueError(f"train.{key} names {unknown[0]!r}, which is no feature: {', '.join(features)}")
        if coded := [name for name in self.monotone if features[name].transform == "category"]:
            raise ValueError(f"train.monotone names {coded[0]!r}, whose transform is category: its codes have no order")
        if self.monotone and TASKS[target.task].has_many_labels:
            raise ValueError(
                f"train.monotone names {next(iter(self.monotone))!r}, but target.task is {target.task}: probabilities of several labels "
                "have no one direction; allowed with two labels or a number"
            )
        if self.monotone and target.judged_by.name in ("absolute_error", "pinball"):
            raise ValueError(
                f"train.monotone names {next(iter(self.monotone))!r}, but leaves of the objective {target.judged_by.name} are quantiles of "
                "their rows, whatever their order; allowed with the other objectives of a number"
            )


class XgboostParams(TreeParams):
    """Settings of trees by XGBoost."""

    device: Literal["cpu", "cuda"] = Field(
        default="cpu",
        description="Where trees are grown. `cuda`: on an NVIDIA GPU, by the environment of `make … GPU=1`; another model than the CPU's.",
    )
    memory: Literal["internal", "external"] = Field(
        default="internal",
        description="Where the quantised training table lies: in memory, or in pages on the disk below `var/scratch`, which takes longer. "
        "Changes time and memory, not the model.",
    )

    @property
    def lock(self) -> str:
        """The lock of the environment that trains."""
        return "requirements/pipeline-gpu.txt" if self.device == "cuda" else super().lock


class BoostingParams(XgboostParams):
    """Settings of boosted trees by XGBoost, under its own names."""

    space: ClassVar[dict[str, Range]] = {
        "max_depth": Range(low=3, high=10),
        "learning_rate": Range(low=0.02, high=0.3, log=True),
        "min_child_weight": Range(low=1, high=200, log=True),
        "subsample": Range(low=0.5, high=1),
        "colsample_bytree": Range(low=0.3, high=1),
    }

    learning_rate: float = Field(default=0.1, gt=0, le=1, description="Factor that shrinks each tree's contribution.")
    min_child_weight: float = Field(default=1.0, ge=0, description="Smallest sum of hessians in a leaf.")
    subsample: float = Field(default=1.0, gt=0, le=1, description="Share of the rows that each tree sees.")
    colsample_bytree: float = Field(default=1.0, gt=0, le=1, description="Share of the features that each tree sees.")
    max_rounds: int = Field(default=1000, ge=1, description="Largest number of boosting rounds.")
    early_stopping_rounds: int = Field(
        default=50, ge=1, description="Rounds without improvement on the validation part after which boosting stops."
    )
    checkpoint_rounds: int = Field(
        default=100,
        ge=1,
        description="Rounds from one checkpoint to the next, each with a seed of its own: part of the model's identity.",
    )
    engine: Literal["local", "dask"] = Field(
        default="local",
        description="`local`: this process. `dask`: processes of a Dask cluster, another model. They encode the partitions too, to the "
        "same bytes.",
    )
    workers: int = Field(
        default=2,
        ge=1,
        le=1000,
        description="`engine: dask`: shares of the training rows, which as many workers learn from together: part of the model's identity.",
    )
    scheduler: Address | None = Field(
        default=None,
        description="`engine: dask`: address of a scheduler, such as `tcp://10.0.0.5:8786`, whose workers have this environment, this code "
        "and these files. Null: a cluster of `workers` processes on this machine, for the time of a stage.",
    )

    @property
    def cluster(self) -> ClusterParams | None:
        """The cluster of `engine: dask`."""
        return ClusterParams(self.workers, self.scheduler) if self.engine == "dask" else None

    def check(self, features: Mapping[str, FeatureParams], target: TargetParams) -> None:
        """Raise ValueError for settings of another engine."""
        super().check(features, target)
        for name in ("workers", "scheduler"):
            if self.engine == "local" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"train.{name} goes with train.engine dask only (it is local)")


class GbtreeParams(BoostingParams):
    """Settings of gradient boosting by XGBoost, under its own names."""

    booster: ClassVar[str] = "gbtree"

    family: Literal["gbtree"] = Field(default="gbtree", description="Boosted trees by XGBoost. The default.")


class DartParams(BoostingParams):
    """Settings of boosting with dropout by XGBoost: a round leaves earlier trees out at random, then weighs all anew."""

    booster: ClassVar[str] = "dart"
    space = BoostingParams.space | {"rate_drop": Range(low=0.02, high=0.5, log=True)}

    family: Literal["dart"] = Field(
        description="Boosted trees by XGBoost with dropout. Training scores all trees in every round: its time grows with the "
        "square of the rounds."
    )
    max_rounds: int = Field(default=200, ge=1, description="Largest number of boosting rounds.")
    rate_drop: float = Field(default=0.1, ge=0, le=1, description="Share of the trees that a round leaves out.")
    skip_drop: float = Field(default=0.5, ge=0, le=1, description="Probability that a round leaves no tree out.")


class ForestParams(XgboostParams):
    """Settings of a random forest by XGBoost."""

    # Its margins are shares already: a factor of them means nothing.
    calibrations: ClassVar = {"probability": ("none", "sigmoid", "isotonic")}
    objectives = frozenset({"logistic", "softmax", "squared_error", "absolute_error", "pinball"})
    space: ClassVar[dict[str, Range]] = {
        "max_depth": Range(low=6, high=18),
        "min_child_weight": Range(low=1, high=100, log=True),
        "subsample": Range(low=0.3, high=0.9),
        "colsample_bynode": Range(low=0.2, high=1),
    }

    family: Literal["forest"] = Field(description="Trees by XGBoost, grown apart and averaged.")
    trees: int = Field(default=200, ge=1, le=10_000, description="Number of trees.")
    max_depth: int = Field(default=12, ge=1, le=20, description="Largest depth of a tree.")
    min_child_weight: float = Field(
        default=5.0, ge=0, description="Fewest rows in a leaf, or their smallest sum of weights."
    )
    subsample: float = Field(default=0.6, gt=0, le=1, description="Share of the rows that each tree sees.")
    colsample_bynode: float = Field(default=0.5, gt=0, le=1, description="Share of the features that each split sees.")


class HistogramParams(TreeParams):
    """Settings of scikit-learn's histogram gradient boosting."""

    objectives = frozenset({"logistic", "softmax", "squared_error", "absolute_error", "poisson", "gamma", "pinball"})

    family: Literal["histogram"] = Field(
        description="Boosted trees by scikit-learn, which split categories into sets; of quantiles a model each."
    )
    learning_rate: float = Field(default=0.1, gt=0, le=1, description="Factor that shrinks each tree's contribution.")
    max_leaf_nodes: int = Field(default=31, ge=2, description="Most leaves of a tree.")
    min_samples_leaf: int = Field(default=20, ge=1, description="Fewest rows of a leaf.")
    l2_regularization: float = Field(default=0.0, ge=0, description="Penalty of large leaf values.")
    max_rounds: int = Field(default=1000, ge=1, description="Largest number of boosting rounds.")
    early_stopping_rounds: int = Field(
        default=50, ge=1, description="Rounds without improvement on the validation part after which boosting stops."
    )


class LinearParams(FamilyParams):
    """Settings of the linear baseline; to serve it as the model, `gates.linear_margin` must be above 0."""

    importance_of = "spread"

    family: Literal["linear"] = Field(description="Logistic or ridge regression, by scikit-learn.")


Train = GbtreeParams | DartParams | ForestParams | HistogramParams | LinearParams
FAMILIES: dict[str, type[FamilyParams]] = {
    get_args(each.model_fields["family"].annotation)[0]: each for each in get_args(Train)
}


def with_family(raw: Any) -> Any:
    """Return the section with a family, by default boosted trees."""
    return {"family": _DEFAULT, **raw} if isinstance(raw, Mapping) else raw
