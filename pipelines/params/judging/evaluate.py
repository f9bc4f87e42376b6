"""`evaluate` of `params.yaml`: the figures of the hold-out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from pipelines.params.column import Column, require_columns
from pipelines.params.judging.behaviour import Behaviour
from pipelines.params.judging.staleness import Staleness
from pipelines.params.target import TargetParams
from pipelines.params.types import Model, Part


class Groups(Model):
    """Groups of rows by one column: by value, by bin of a number, or by part of a timestamp."""

    column: str = Field(description="Column whose values define the groups.")
    part: Part | None = Field(default=None, description="Of a timestamp: the part of it that defines the groups.")
    edges: Annotated[tuple[float, ...], Field(min_length=1)] | None = Field(
        default=None, description="Of a number: ascending edges of bins, whose meaning is the same every month."
    )
    quantiles: Annotated[int, Field(ge=2, le=20)] | None = Field(
        default=None, description="Of a number: the number of bins of equal count on the hold-out."
    )

    @property
    def name(self) -> str:
        """The name of the groups in the report."""
        return f"{self.column}_{self.part}" if self.part else self.column

    def check(self, key: str, columns: Mapping[str, Column]) -> None:
        """Raise ValueError unless the column is declared, may be shown, and can be grouped in this way."""
        require_columns(key, (self.column,), columns)
        column = columns[self.column]
        if column.pii:
            raise ValueError(
                f"{key} names the column {self.column!r}, which is marked pii; its values would enter the bundle"
            )
        is_time, is_binned = column.kind == "timestamp", self.edges is not None or self.quantiles is not None
        if self.part is not None and not is_time:
            raise ValueError(f"{key}.part goes with a timestamp only (the kind of {self.column!r} is {column.kind})")
        if is_time and self.part is None:
            raise ValueError(f"{key} names the timestamp {self.column!r}; name a part of it, such as part: hour")
        if is_binned and not column.is_number:
            raise ValueError(f"{key}: bins go with a number only (the kind of {self.column!r} is {column.kind})")
        if self.edges is not None and self.quantiles is not None:
            raise ValueError(f"{key} has edges and quantiles of {self.column!r}; declare one of the two")
        if self.edges is not None and list(self.edges) != sorted(set(self.edges)):
            raise ValueError(f"{key}.edges of {self.column!r} must ascend, without repeats")


class Slice(Groups):
    """Rows of the hold-out that share a value, judged separately."""

    cross: Groups | None = Field(default=None, description="Second column: each pair of values is a slice.")

    @property
    def name(self) -> str:
        """The name of the groups in the report."""
        return f"{self.groups[0].name} and {self.cross.name}" if self.cross else super().name

    @property
    def groups(self) -> tuple[Groups, ...]:
        """The grouping by one column, or the two that are crossed."""
        first = Groups(**self.model_dump(exclude={"cross"}))
        return (first, self.cross) if self.cross else (first,)

    def check(self, key: str, columns: Mapping[str, Column]) -> None:
        """Raise ValueError unless both columns can be grouped so, and are not one and the same."""
        super().check(key, columns)
        if self.cross is None:
            return
        self.cross.check(f"{key}.cross", columns)
        # Hours by weekdays are a cross of one column with meaning; bins by other bins of it are not.
        if self.cross.column == self.column and (None in (self.part, self.cross.part) or self.part == self.cross.part):
            raise ValueError(f"{key} crosses the column {self.column!r} with itself; name another in cross")


class Decisions(Model):
    """Costs of the answered labels, for targets with labels."""

    costs: tuple[tuple[float, ...], ...] = Field(
        description="A row for each actual label, a column for each answered one, both in the order of `target.labels`: the cost of one "
        "such decision, such as `[[0, 1], [12, 0]]`. A gain is below 0."
    )
    currency: str = Field(default="", description="Unit of the costs, for people.")

    def check(self, target: TargetParams) -> None:
        """Raise ValueError unless the costs fit the labels, and a right answer is never dearer than a wrong one."""
        count = len(target.labels)
        if not count:
            raise ValueError(f"evaluate.decisions goes with labels only (the task is {target.task}); remove it")
        if len(self.costs) != count or any(len(row) != count for row in self.costs):
            shape = f"of {' and '.join(str(len(row)) for row in self.costs)} numbers" if self.costs else "none"
            raise ValueError(
                f"evaluate.decisions.costs must have {count} rows of {count} numbers, one for each of the labels "
                f"{', '.join(target.labels)} (its rows are {shape})"
            )
        for label, (index, row) in zip(target.labels, enumerate(self.costs), strict=True):
            if any(cost <= row[index] for other, cost in enumerate(row) if other != index):
                raise ValueError(
                    f"evaluate.decisions.costs: answering {label!r} rightly costs {row[index]:g}, no less than a wrong answer; the "
                    "smallest number of each row belongs on the diagonal"
                )


class Evaluate(Model):
    """Settings of the evaluation on the hold-out."""

    decisions: Decisions | None = Field(
        default=None,
        description="Costs of decisions, by which the report shows a threshold and the cost. Null: none are shown.",
    )
    slices: tuple[Slice, ...] = Field(
        default=(), description="Groups of rows that are judged separately, each against the live model too."
    )
    slice_rows: int = Field(
        default=30,
        ge=10,
        description="Fewest rows of a slice or of a protected group; smaller ones are counted, not judged.",
    )
    weak_slices: int = Field(
        default=5,
        ge=0,
        le=20,
        description="Most weak slices that are searched for on one half of the clusters, among all values of one column or two, and tested "
        "on the other. 0: no search.",
    )
    behaviour: tuple[Behaviour, ...] = Field(
        default=(), description="Expectations of how the score moves when one field of a row changes."
    )
    staleness: Staleness | None = Field(
        default=None,
        description="Models of earlier months, judged on the months after: how often to retrain. Null: not measured.",
    )
    bootstrap: int = Field(
        default=2000,
        ge=100,
        description="Number of resamples for the confidence bounds: of whole days if there is a time, of whole entities for a grouped "
        "split, else of rows.",
    )

    def check(self, target: TargetParams, columns: Mapping[str, Column]) -> None:
        """Raise ValueError unless costs and slices fit the target and the columns."""
        if self.decisions is not None:
            self.decisions.check(target)
        names: set[str] = set()
        for entry in self.slices:
            entry.check("evaluate.slices", columns)
            if entry.name in names:
                raise ValueError(f"evaluate.slices lists {entry.name!r} twice; remove one")
            names.add(entry.name)
