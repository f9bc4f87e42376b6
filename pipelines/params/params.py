"""The sections of `params.yaml`: frozen models that refuse unknown keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from contract.schema.tasks import TASKS
from pipelines.params.column import Column, require_columns
from pipelines.params.features.transforms import FEATURES, FeatureParams, check_features, histories, inputs_of
from pipelines.params.judging import behaviour
from pipelines.params.judging.evaluate import Evaluate
from pipelines.params.judging.gates import Gates
from pipelines.params.judging.split import SPLITS, GroupedSplit, PredefinedSplit, Split, StratifiedSplit, TemporalSplit
from pipelines.params.serving import Serving
from pipelines.params.source import Combined, Source
from pipelines.params.target import TargetParams
from pipelines.params.train import Train, with_family
from pipelines.params.tune import Tune
from pipelines.params.types import WHOLE, Model, Month, Name, Period, Share

__all__ = [
    "FEATURES", "SPLITS", "WHOLE", "Column", "Combined", "Evaluate", "Gates", "GroupedSplit", "PredefinedSplit", "StratifiedSplit",
    "TargetParams", "TemporalSplit", "inputs_of",
]  # fmt: skip


FRESHNESS = "2d"


class Data(Model):
    """The table; without a `time` it is one partition, whose month is `all`, and without a `key` rows may be equal."""

    source: Annotated[Source, Field(discriminator="kind", description="Origin of the table.")]
    months: Annotated[tuple[Month, ...], Field(min_length=1)] = Field(
        description='Months to work on, in order, such as `["2026-01", "2026-02"]`. Months between others may be omitted; a month that '
        "is not over is not collected. `[all]` without a `time`."
    )
    time: str | None = Field(
        default=None,
        description="Timestamp of a prediction's request, which assigns a row to its month and orders the split.",
    )
    key: tuple[str, ...] = Field(
        default=(),
        description="Columns that identify a row. Two rows of a month may not share their values. Empty: rows may be equal.",
    )
    columns: dict[Name, Column] = Field(description="Every column that is used, by name.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if list(self.months) != sorted(set(self.months)):
            raise ValueError("months must ascend, without repeats")
        require_columns("key", self.key, self.columns)
        if len(set(self.key)) != len(self.key):
            raise ValueError(f"key names a column twice (it is {', '.join(self.key)})")
        for name, column in self.columns.items():
            if column.utc_of is not None:
                require_columns(f"columns.{name}.utc_of", (column.utc_of,), self.columns)
        if self.time is None:
            if self.months != (WHOLE,):
                raise ValueError(f"months must be [{WHOLE}] without a time: the table is one partition")
            return self
        if WHOLE in self.months:
            raise ValueError(f"months may be [{WHOLE}] only without a time; list months such as 2024-01")
        require_columns("time", (self.time,), self.columns)
        if self.columns[self.time].kind != "timestamp":
            raise ValueError(f"time names the column {self.time!r}, whose kind is not timestamp")
        for name in (self.time, self.clock):
            if self.columns[name].is_later:
                raise ValueError(f"the time {name!r} is known: later, but a prediction is asked for by its time")
        self.source.check_time(self.time)
        return self

    @property
    def clock(self) -> str:
        """The column by which histories order rows: the time, or the same moment in UTC."""
        return next((name for name, column in self.columns.items() if column.utc_of == self.time), str(self.time))


Count = Annotated[int, Field(ge=0)]


class Expectation(Model):
    """An expectation of Great Expectations, in its JSON form."""

    type: str = Field(description="Name of the expectation, such as `unexpected_rows_expectation`.")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="Its arguments.")


class Validate(Model):
    """Checks of a month; bounds are inclusive."""

    rows: tuple[Count, Count] = Field(description="Fewest and most rows of a month.")
    positive_rate: tuple[Share, Share] = Field(
        default=(0.0, 1.0), description="Binary targets: lowest and highest share of the positive label in a month."
    )
    budget: Share = Field(
        default=0.0,
        description="Largest share of a month's rows that may be quarantined for failing a row check. Above it the whole month is "
        "quarantined.",
    )
    drift: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=0.01,
        description="False alarm rate of the drift check, which refuses a month whose distribution is unlike every earlier month's. "
        "Null: no drift check.",
    )
    reviewed: tuple[Month, ...] = Field(
        default=(),
        description="Months whose drift a person has accepted. They pass, and later months are compared with them too.",
    )
    freshness: Period | None = Field(
        default=FRESHNESS,
        description="Longest time from a month's newest row to its end: `4d` for a table of working days, `8d` for a weekly one, `1mo` "
        "for one row on the first of each month. Null: completeness is not checked.",
    )
    expectations: tuple[Expectation, ...] = Field(
        default=(),
        description="Further expectations of Great Expectations. `unexpected_rows_expectation` takes any rule in SQL.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, (low, high) in (("rows", self.rows), ("positive_rate", self.positive_rate)):
            if low > high:
                raise ValueError(f"{name} must be the lowest and the highest, in this order (it is [{low}, {high}])")
        return self


class Costs(Model):
    """Prices, for `python -m pipelines costs`. No stage depends on them, and no bundle holds them."""

    cpu_hour: float = Field(default=0.04, ge=0, description="Price of one CPU for an hour.")
    gb_hour: float = Field(default=0.005, ge=0, description="Price of 1 GB of memory for an hour.")
    currency: str = Field(default="USD", min_length=1, description="Name of the currency, for people.")


class Params(Model):
    """The whole file; every section but `costs` must be there, if only as `{}`, since stages in dvc.yaml depend on them."""

    name: Name = Field(description="Name of the model in responses and in the Open Inference Protocol.")
    data: Data = Field(description="The table: source, months, columns.")
    target: TargetParams = Field(description="The predicted column.")
    validate_: Validate = Field(alias="validate", description="Checks of each month.")
    split: Annotated[Split, Field(discriminator="kind")] = Field(
        description="Rows for the hold-out, and rows that stop the boosting."
    )
    features: Annotated[dict[Name, FeatureParams], Field(min_length=1)] = Field(
        description="Features by name, each with its transform. A feature without an input reads the column of its own name."
    )
    train: Annotated[Train, Field(discriminator="family"), BeforeValidator(with_family)] = Field(
        description="The family of models, and its settings."
    )
    tune: Tune = Field(description="The search for better settings of the family.")
    evaluate: Evaluate = Field(description="Settings of the evaluation.")
    gates: Gates = Field(description="Conditions of approval.")
    serving: Serving = Field(description="Limits of a server, and budgets of a bundle.")
    costs: Costs = Field(default=Costs(), description="Prices of CPU time and memory.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        columns = self.data.columns
        if self.target.column in columns:
            raise ValueError(f"data.columns must not list the target {self.target.column!r}, which no request carries")
        _refuse_twins([*columns, self.target.column])
        check_features(self.features, columns)
        for name, feature in histories(self.features).items():
            feature.check_table(name, columns, self.data.time, self.target)
        self.evaluate.check(self.target, columns)
        behaviour.check(self.evaluate.behaviour, columns, self.features, self.target)
        self.train.check(self.features, self.target)
        self._check_weight()
        if "positive_rate" in self.validate_.model_fields_set and not TASKS[self.target.task].has_positive:
            raise ValueError(
                f"validate.positive_rate goes with two labels only (the task is {self.target.task}); remove it"
            )
        self.tune.check(self.train.family, self.train, self.train.space)
        self._check_split()
        if self.evaluate.staleness is not None:
            self.evaluate.staleness.check(self.split)
        self._check_gates()
        self._check_deprecated()
        return self

    def _check_weight(self) -> None:
        if (weight := self.target.weight) is None:
            return
        require_columns("target.weight", (weight,), self.data.columns)
        if (kind := self.data.columns[weight].kind) != "number":
            raise ValueError(f"target.weight names the column {weight!r}, whose kind is {kind}; allowed: number")
        if readers := [name for name, feature in self.features.items() if weight in inputs_of(name, feature)]:
            raise ValueError(
                f"target.weight names the column {weight!r}, which the feature {readers[0]!r} reads; allowed: a column of no feature"
            )

    def _check_split(self) -> None:
        if isinstance(self.split, TemporalSplit) and self.data.time is None:
            raise ValueError("split.kind temporal needs data.time; without it use stratified, predefined or grouped")
        if isinstance(self.split, (PredefinedSplit, GroupedSplit)) and self.split.column is not None:
            require_columns("split.column", (self.split.column,), self.data.columns)
        if isinstance(self.split, PredefinedSplit) and self.split.column is not None:
            _check_values(self.split.column, self.split.holdout, self.data.columns[self.split.column])
            if self.data.columns[self.split.column].pii:
                raise ValueError(
                    f"split.holdout lists values of {self.split.column!r}, which is marked pii, and params.yaml enters the bundle; split "
                    "by another column"
                )
        if isinstance(self.split, PredefinedSplit) and self.split.first is not None and self.data.key:
            raise ValueError(
                "split.first counts rows in the order of the source, but data.key orders them; it must be []"
            )

    def _check_gates(self) -> None:
        if self.gates.entity is not None:
            require_columns("gates.entity", (self.gates.entity,), self.data.columns)
        has_labels, is_costed = bool(self.target.labels), self.evaluate.decisions is not None
        is_protected = any(column.protected for column in self.data.columns.values())
        for names, is_possible, needs in (
            (("log_loss_margin",), len(self.target.labels) == 2, "a binary target"),
            (("calibration_error", "calibration_error_margin"), has_labels, "a target with labels"),
            (("cost", "cost_margin"), is_costed, "evaluate.decisions, the costs of a decision"),
        ):
            for name in names:
                if getattr(self.gates, name) is not None and not is_possible:
                    raise ValueError(f"gates.{name} needs {needs}; without it remove the key")
        if self.gates.slice_margin is not None and not self.evaluate.slices:
            raise ValueError("gates.slice_margin needs evaluate.slices; without them remove the key")
        if self.gates.fairness_gap and not (has_labels and is_protected):
            raise ValueError(
                "gates.fairness_gap needs a target with labels, and a column marked protected: true; without them remove the key"
            )
        if len(self.target.labels) != 2 and (
            wrong := self.gates.fairness_gap.keys() & {"true_positive_rate", "false_positive_rate"}
        ):
            raise ValueError(f"gates.fairness_gap.{min(wrong)} needs a binary target; without it remove the key")
        if unknown := [name for name in self.gates.reviewed if name not in self.features]:
            raise ValueError(f"gates.reviewed lists {unknown[0]!r}, which is no feature: {', '.join(self.features)}")

    def _check_deprecated(self) -> None:
        for name, feature in self.features.items():
            if read := self.serving.deprecated.keys() & set(inputs_of(name, feature)):
                raise ValueError(
                    f"serving.deprecated lists {min(read)!r}, which the feature {name!r} reads; list only fields that no feature reads"
                )


def _refuse_twins(names: Sequence[str]) -> None:
    """Raise ValueError for names that differ only by case, which Great Expectations and DuckDB confuse."""
    by_letters: dict[str, str] = {}
    for name in names:
        if (other := by_letters.setdefault(name.lower(), name)) != name:
            raise ValueError(
                f"data.columns and target.column: {other!r} and {name!r} differ by the case of letters alone; rename one "
                "(data.source.rename)"
            )


def _check_values(name: str, values: tuple[str, ...], column: Column) -> None:
    if column.is_number and (wrong := [value for value in values if not _is_number(value)]):
        raise ValueError(f"split.holdout lists {wrong[0]!r}, but {name!r} is of kind {column.kind}")


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
