"""What `params.yaml` may say: frozen models that refuse unknown keys; functions get the part that they need."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pipelines.params_source import Combined, FilesSource, FlightsSource, Source, SqlSource
from pipelines.params_split import SPLITS, GroupedSplit, PredefinedSplit, Split, StratifiedSplit, TemporalSplit
from pipelines.params_target import TargetParams
from pipelines.params_types import WHOLE, Model, Month, Name, Part, Share, Text

__all__ = [
    "SPLITS", "WHOLE", "Combined", "FilesSource", "FlightsSource", "GroupedSplit", "PredefinedSplit", "SqlSource", "StratifiedSplit",
    "TargetParams", "TemporalSplit",
]  # fmt: skip


class Column(Model):
    """One column of the table; see `docs/own-table.md`."""

    kind: Literal["number", "boolean", "category", "timestamp", "identifier"]
    required: bool = True
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] | None = None
    missing: Share | None = None
    missing_values: tuple[Text, ...] = ()
    tolerance: Share = 0.0
    may_be_constant: bool = False
    pii: bool = False
    description: str | None = None

    @property
    def missing_budget(self) -> float:
        """Largest share of nulls in a month: as declared, else none for a required column and any for another."""
        if self.missing is not None:
            return self.missing
        return 0.0 if self.required else 1.0


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
        _require_columns("key", self.key, self.columns)
        if self.time is None:
            if self.months != (WHOLE,):
                raise ValueError(f"months must be [{WHOLE}] where there is no time: the table is one partition")
            return self
        if WHOLE in self.months:
            raise ValueError(f"months may be [{WHOLE}] only where there is no time; list months such as 2024-01")
        _require_columns("time", (self.time,), self.columns)
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

    `budget` is the largest share of rows that may be split off for failing a row check; beyond it, the month is refused.
    """

    rows: tuple[int, int]
    positive_rate: tuple[Share, Share] = (0.0, 1.0)
    budget: Share = 0.0
    expectations: tuple[Expectation, ...] = ()


class ValueFeature(Model):
    transform: Literal["value", "log"]
    input: str | None = None


class CategoryFeature(Model):
    """Categories seen less than `minimum_count` times in training share the code of the unknown ones."""

    transform: Literal["category"]
    input: str | None = None
    minimum_count: Annotated[int, Field(ge=1)] = 1
    maximum_categories: Annotated[int, Field(ge=1, le=10_000)] = 1_000


class CalendarFeature(Model):
    transform: Literal["calendar"]
    input: str
    part: Part


class CyclicFeature(Model):
    transform: Literal["cyclic"]
    input: str
    part: Part
    function: Literal["sin", "cos"]


class RatioFeature(Model):
    transform: Literal["ratio"]
    inputs: tuple[str, str]


class LookupFeature(Model):
    """A small table made from the training rows: by key, its share of the rows or the mean of a number."""

    transform: Literal["lookup"]
    input: str
    statistic: Literal["share", "mean"]
    of: str | None = None
    maximum_keys: Annotated[int, Field(ge=1, le=10_000)] = 1_000


FeatureParams = Annotated[
    ValueFeature | CategoryFeature | CalendarFeature | CyclicFeature | RatioFeature | LookupFeature,
    Field(discriminator="transform"),
]


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
    """

    regression_margin: Annotated[float, Field(ge=0, le=0.5)] = 0.01
    linear_margin: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    feature_auc: Annotated[float, Field(ge=0.5, le=1)] = 0.99
    disguise: Annotated[float, Field(gt=0, le=1)] = 0.99
    reviewed: tuple[str, ...] = ()
    entity: str | None = None


class Serving(Model):
    max_rows: Annotated[int, Field(ge=1)] = 1000
    body_limit_bytes: Annotated[int, Field(ge=1024)] = 1_048_576


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
        for name, feature in self.features.items():
            for column in inputs_of(name, feature):
                _require_columns(f"features.{name}", (column,), columns)
                _check_feature_kind(name, feature.transform, columns[column], column)
            if isinstance(feature, LookupFeature):
                _check_lookup(name, feature, columns)
        for entry in self.evaluate.slices:
            _require_columns("evaluate.slices", (entry.column,), columns)
        self._check_split()
        self._check_gates()
        return self

    def _check_split(self) -> None:
        if isinstance(self.split, TemporalSplit) and self.data.time is None:
            raise ValueError("split.kind temporal needs data.time; without it use stratified, predefined or grouped")
        if isinstance(self.split, (PredefinedSplit, GroupedSplit)) and self.split.column is not None:
            _require_columns("split.column", (self.split.column,), self.data.columns)
        if isinstance(self.split, PredefinedSplit) and self.split.column is not None:
            _check_values(self.split.column, self.split.holdout, self.data.columns[self.split.column])
        if isinstance(self.split, PredefinedSplit) and self.split.first is not None and self.data.key:
            raise ValueError(
                "split.first counts rows in the order of the source, but data.key orders them; it must be []"
            )

    def _check_gates(self) -> None:
        if self.gates.entity is not None:
            _require_columns("gates.entity", (self.gates.entity,), self.data.columns)
        if unknown := [name for name in self.gates.reviewed if name not in self.features]:
            raise ValueError(f"gates.reviewed lists {unknown[0]!r}, which is no feature: {', '.join(self.features)}")


# Kinds of column that each transform reads.
KINDS_OF = {
    "value": ("number", "boolean"),
    "log": ("number",),
    "ratio": ("number",),
    "category": ("category",),
    "lookup": ("category",),
    "calendar": ("timestamp",),
    "cyclic": ("timestamp",),
}


def inputs_of(name: str, feature: Any) -> tuple[str, ...]:
    """The columns that a feature reads; a feature that names none reads the column of its own name."""
    if isinstance(feature, RatioFeature):
        return feature.inputs
    return (feature.input or name,)


def _require_columns(key: str, names: tuple[str, ...], columns: dict[str, Column]) -> None:
    for name in names:
        if name not in columns:
            raise ValueError(f"{key} names the column {name!r}, which data.columns does not have: {', '.join(columns)}")


def _check_values(name: str, values: tuple[str, ...], column: Column) -> None:
    if column.kind == "number" and (wrong := [value for value in values if not _is_number(value)]):
        raise ValueError(f"split.holdout lists {wrong[0]!r}, but {name!r} is of kind number")


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _check_feature_kind(name: str, transform: str, column: Column, column_name: str) -> None:
    allowed = KINDS_OF[transform]
    if column.kind not in allowed:
        raise ValueError(
            f"features.{name}: {transform} takes columns of kind {' or '.join(allowed)}, "
            f"but {column_name!r} is of kind {column.kind}"
        )
    if column.pii and transform in ("category", "lookup"):
        raise ValueError(f"features.{name}: {column_name!r} is marked pii, and its values may not enter the bundle")


def _check_lookup(name: str, feature: LookupFeature, columns: dict[str, Column]) -> None:
    if (feature.statistic == "mean") != (feature.of is not None):
        raise ValueError(f"features.{name}: `of` goes with statistic mean, and only with it")
    if feature.of is not None:
        _require_columns(f"features.{name}.of", (feature.of,), columns)
        if columns[feature.of].kind != "number":
            raise ValueError(f"features.{name}.of: {feature.of!r} is not of kind number")
