"""What `params.yaml` may say: frozen models that refuse unknown keys; functions get the part that they need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from contract.limits import Limits
from pipelines.params_features import (
    KINDS_OF,
    BinnedFeature,
    CalendarFeature,
    CategoryFeature,
    Column,
    CyclicFeature,
    ElapsedFeature,
    FeatureParams,
    HolidayFeature,
    LookupFeature,
    PairFeature,
    PlainFeature,
    ValueFeature,
    check_features,
    inputs_of,
    require_columns,
)
from pipelines.params_source import Combined, FilesSource, FlightsSource, Source, SqlSource
from pipelines.params_split import SPLITS, GroupedSplit, PredefinedSplit, Split, StratifiedSplit, TemporalSplit
from pipelines.params_target import TargetParams
from pipelines.params_types import WHOLE, Model, Month, Name, Part, Period, Share

__all__ = [
    "KINDS_OF", "SPLITS", "WHOLE", "BinnedFeature", "CalendarFeature", "CategoryFeature", "Column", "Combined", "CyclicFeature",
    "ElapsedFeature", "FilesSource", "FlightsSource", "GroupedSplit", "HolidayFeature", "LookupFeature", "PairFeature", "PlainFeature",
    "PredefinedSplit", "SqlSource", "StratifiedSplit", "TargetParams", "TemporalSplit", "ValueFeature", "inputs_of",
]  # fmt: skip


FRESHNESS = "2d"


class Data(Model):
    """The table. One without a `time` is one partition, and its only month is `all`; without a `key` rows may be equal."""

    source: Annotated[Source, Field(discriminator="kind")]
    months: Annotated[tuple[Month, ...], Field(min_length=1)]
    time: str | None = None
    key: tuple[str, ...] = ()
    columns: dict[Name, Column]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if list(self.months) != sorted(set(self.months)):
            raise ValueError("months must be in order, each once")
        require_columns("key", self.key, self.columns)
        if self.time is None:
            if self.months != (WHOLE,):
                raise ValueError(f"months must be [{WHOLE}] where there is no time: the table is one partition")
            return self
        if WHOLE in self.months:
            raise ValueError(f"months may be [{WHOLE}] only where there is no time; list months such as 2024-01")
        require_columns("time", (self.time,), self.columns)
        if self.columns[self.time].kind != "timestamp":
            raise ValueError(f"time names the column {self.time!r}, whose kind is not timestamp")
        if isinstance(self.source, SqlSource) and not self.source.cursor_gives(self.time):
            raise ValueError(
                f"source.cursor must name the column of the database from which {self.time!r} comes (it is "
                f"{self.source.cursor!r}): a month is selected by it"
            )
        return self


class Expectation(Model):
    """A Great Expectations expectation, as its JSON form has it."""

    type: str
    kwargs: dict[str, Any] = Field(default_factory=dict)


class Validate(Model):
    """Bounds for a month, both inclusive: number of rows, and share of the positive label.

    `budget` is the largest share of rows that may be split off for failing a row check; beyond it, the month is refused. `drift` is
    the probability of a false alarm with which a month is refused for being distributed as no month before it; null: never, and
    months in `reviewed` are not: somebody has looked at them. `freshness` is how long before the end of a month its newest row may
    lie; null: anywhere in it.
    """

    rows: tuple[int, int]
    positive_rate: tuple[Share, Share] = (0.0, 1.0)
    budget: Share = 0.0
    drift: Annotated[float, Field(gt=0, lt=1)] | None = 0.01
    reviewed: tuple[Month, ...] = ()
    freshness: Period | None = FRESHNESS
    expectations: tuple[Expectation, ...] = ()


class Train(Model):
    """Settings of XGBoost, by its own names; `threads` changes the time, not the model."""

    seed: int
    max_depth: Annotated[int, Field(ge=1, le=20)] = 6
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    min_child_weight: Annotated[float, Field(ge=0)] = 1.0
    subsample: Annotated[float, Field(gt=0, le=1)] = 1.0
    colsample_bytree: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_rounds: Annotated[int, Field(ge=1)] = 1000
    early_stopping_rounds: Annotated[int, Field(ge=1)] = 50
    threads: Annotated[int, Field(ge=1)] = 2


class Slice(Model):
    column: str
    part: Part | None = None

    @property
    def name(self) -> str:
        return f"{self.column}_{self.part}" if self.part else self.column


class Evaluate(Model):
    slices: tuple[Slice, ...] = ()
    bootstrap: Annotated[int, Field(ge=100)] = 2000


class Gates(Model):
    """What a model may lose against the live one (95 % confidence) and against the linear baseline.

    In ROC-AUC for a binary target; for the others a share of the other model's loss.

    Before training: `feature_auc` is the ROC-AUC that one feature may reach alone, unless it is `reviewed`; `disguise` the share
    of errors that one feature may avoid alone; `entity` a column whose values may not be on both sides of the split.

    `clusters` is the fewest days, entities or rows of the hold-out over which a bound decides; `replaces` a person's word that the
    live bundle with this digest may be replaced without a comparison with it.

    Source: Cameron, Miller 2015, A Practitioner's Guide to Cluster-Robust Inference, VI: "few" may be less than 20 to less than 50.
    """

    regression_margin: Annotated[float, Field(ge=0, le=0.5)] = 0.01
    linear_margin: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    feature_auc: Annotated[float, Field(ge=0.5, le=1)] = 0.99
    disguise: Annotated[float, Field(gt=0, le=1)] = 0.99
    reviewed: tuple[str, ...] = ()
    entity: str | None = None
    clusters: Annotated[int, Field(ge=2)] = 20
    replaces: Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")] | None = None


class Budget(Model):
    """What a bundle may cost when it is rehearsed before it is published.

    Attributes:
        ready_s: from the start of `bentoml serve` to the first 200 on /readyz.
        p99_ms: of one row over HTTP, one request at a time.
        memory_mb: resident, all processes of one replica.
        environment_mb: installed size of the serving environment.
    """

    ready_s: Annotated[float, Field(gt=0)] = 30
    p99_ms: Annotated[float, Field(gt=0)] = 50
    memory_mb: Annotated[float, Field(gt=0)] = 400
    environment_mb: Annotated[float, Field(gt=0)] = 400


Seconds = Annotated[float, Field(gt=0, lt=3600)]


class Serving(Model):
    """What callers may cost a server, as `contract.limits.Limits` has it, and what the bundle may cost.

    A time of an hour or more would be none. `deprecated` are fields, with their kinds, that requests may still carry, and nothing reads.
    """

    max_rows: Annotated[int, Field(ge=1)] = Limits.max_rows
    body_limit_bytes: Annotated[int, Field(ge=1024)] = Limits.body_limit_bytes
    body_timeout_s: Seconds = Limits.body_timeout_s
    head_timeout_s: Seconds = Limits.head_timeout_s
    head_limit_bytes: Annotated[int, Field(ge=1024)] = Limits.head_limit_bytes
    head_limit_count: Annotated[int, Field(ge=16)] = Limits.head_limit_count
    target_limit_bytes: Annotated[int, Field(ge=256)] = Limits.target_limit_bytes
    pending_limit_bytes: Annotated[int, Field(ge=1024)] = Limits.pending_limit_bytes
    max_connections: Annotated[int, Field(ge=1)] = Limits.max_connections
    latency_budget_s: Annotated[float, Field(ge=0.01, lt=3600)] = Limits.latency_budget_s
    drain_s: Seconds = Limits.drain_s
    budget: Budget = Budget()
    deprecated: dict[Name, Literal["number", "boolean", "category", "timestamp"]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for smaller, larger in (
            ("target_limit_bytes", "head_limit_bytes"),
            ("body_limit_bytes", "pending_limit_bytes"),
        ):
            if getattr(self, smaller) > getattr(self, larger):
                raise ValueError(f"{smaller} is more than {larger}, of which it is a part")
        return self


class Params(Model):
    """The whole file. Every section must be there, if only as `{}`: dvc.yaml names them as what its stages depend on."""

    name: Name
    data: Data
    target: TargetParams
    validate_: Validate = Field(alias="validate")
    split: Annotated[Split, Field(discriminator="kind")]
    features: Annotated[dict[Name, FeatureParams], Field(min_length=1)]
    train: Train
    evaluate: Evaluate
    gates: Gates
    serving: Serving

    @model_validator(mode="after")
    def _check(self) -> Self:
        columns = self.data.columns
        if self.target.column in columns:
            raise ValueError(
                f"data.columns may not list the target {self.target.column!r}: a request does not carry it"
            )
        _refuse_twins([*columns, self.target.column])
        check_features(self.features, columns)
        for entry in self.evaluate.slices:
            require_columns("evaluate.slices", (entry.column,), columns)
        self._check_split()
        self._check_gates()
        self._check_deprecated()
        return self

    def _check_split(self) -> None:
        if isinstance(self.split, TemporalSplit) and self.data.time is None:
            raise ValueError("split.kind temporal needs data.time; without it use stratified, predefined or grouped")
        if isinstance(self.split, (PredefinedSplit, GroupedSplit)) and self.split.column is not None:
            require_columns("split.column", (self.split.column,), self.data.columns)
        if isinstance(self.split, PredefinedSplit) and self.split.column is not None:
            _check_values(self.split.column, self.split.holdout, self.data.columns[self.split.column])
            if self.data.columns[self.split.column].pii:
                raise ValueError(
                    f"split.holdout lists values of {self.split.column!r}, which is marked pii: they would enter the bundle with "
                    "params.yaml; split by another column"
                )
        if isinstance(self.split, PredefinedSplit) and self.split.first is not None and self.data.key:
            raise ValueError(
                "split.first counts rows in the order of the source, but data.key orders them; it must be []"
            )

    def _check_gates(self) -> None:
        if self.gates.entity is not None:
            require_columns("gates.entity", (self.gates.entity,), self.data.columns)
        if unknown := [name for name in self.gates.reviewed if name not in self.features]:
            raise ValueError(f"gates.reviewed lists {unknown[0]!r}, which is no feature: {', '.join(self.features)}")

    def _check_deprecated(self) -> None:
        for name, feature in self.features.items():
            if read := self.serving.deprecated.keys() & set(inputs_of(name, feature)):
                raise ValueError(
                    f"serving.deprecated lists {min(read)!r}, which the feature {name!r} reads; it is for fields that none reads"
                )


def _refuse_twins(names: Sequence[str]) -> None:
    """Great Expectations and DuckDB do not tell such names apart, and would check one column in place of the other."""
    by_letters: dict[str, str] = {}
    for name in names:
        if (other := by_letters.setdefault(name.lower(), name)) != name:
            raise ValueError(
                f"data.columns and target.column: {other!r} and {name!r} differ by the case of letters alone; rename one "
                "(data.source.rename)"
            )


def _check_values(name: str, values: tuple[str, ...], column: Column) -> None:
    if column.kind == "number" and (wrong := [value for value in values if not _is_number(value)]):
        raise ValueError(f"split.holdout lists {wrong[0]!r}, but {name!r} is of kind number")


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
