"""`evaluate.behaviour` of params.yaml: how the score may move when one field of a row changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from contract.schema.tasks import TASKS
from pipelines.params.column import Column
from pipelines.params.features.transforms import histories, inputs_of
from pipelines.params.target import TargetParams
from pipelines.params.types import Model, Share, Text

_DIRECTIONS = {"never_lower": "never lowers", "never_higher": "never raises"}
_LISTING = ("category", "lookup")


class Behaviour(Model):
    """An expectation of the score when one field of a row is changed and all others stay as they are.

    Source: Ribeiro et al. 2020, Beyond Accuracy: Behavioral Testing of NLP Models with CheckList (invariance and directional tests).
    """

    column: str = Field(
        description="Field of a request that is changed: a column that a feature reads, or a `history`. Histories that were computed from "
        "a changed column stay as they are."
    )
    by: float | None = Field(
        default=None,
        description="Of a number: what is added to it. Rows whose changed value leaves the declared bounds are not tried.",
    )
    values: Literal["all"] | Annotated[tuple[Text, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="Of a category or a boolean: the values that replace it, one after the other; the largest change counts. `all`: every "
        "value that the model knows.",
    )
    direction: Literal["never_lower", "never_higher"] | None = Field(
        default=None, description="With `by`: the score may not become lower, or higher, than before."
    )
    tolerance: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="Of a direction: largest change against it that violates nothing."
    )
    moves_at_most: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="Largest change, up or down: of the probability, of several labels that of each, else in the unit of the target.",
    )
    allowed: Share | None = Field(
        default=None,
        description="Largest share of the tried rows that may violate it, with 95 % confidence. Null: shown, not asked for.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.by is None) == (self.values is None):
            raise ValueError(f"{self.column!r} needs either `by` (a number) or `values` (a category), and not both")
        if self.by == 0:
            raise ValueError(f"{self.column!r}: by: 0 changes nothing")
        if (self.direction is None) == (self.moves_at_most is None):
            raise ValueError(f"{self.column!r} needs either `direction` or `moves_at_most`, and not both")
        if self.direction is None and self.tolerance:
            raise ValueError(f"{self.column!r}: tolerance goes with `direction`; moves_at_most is the tolerance here")
        if self.direction is not None and self.by is None:
            raise ValueError(f"{self.column!r}: a direction needs `by`, since the values of a category have no order")
        return self

    @property
    def limit(self) -> float:
        """The largest change against the expectation that violates nothing."""
        return self.tolerance if self.moves_at_most is None else self.moves_at_most

    @property
    def name(self) -> str:
        """The expectation in words."""
        change = f"{self.column} {self.by:+g}" if self.by is not None else f"another {self.column}"
        if self.direction is None:
            return f"{change} moves the score by at most {self.limit:g}"
        more = f" by more than {self.limit:g}" if self.limit else ""
        return f"{change} {_DIRECTIONS[self.direction]} the score{more}"

    def check(self, key: str, columns: Mapping[str, Column], features: Mapping[str, Any], target: TargetParams) -> None:
        """Raise ValueError unless a request carries the column, and the change fits its kind and the target.

        Args:
            key: of this entry, such as `evaluate.behaviour[0]`.
        """
        kind = self._kind(key, columns, features)
        if (kind == "number") != (self.by is not None) or kind not in ("number", "category", "boolean"):
            raise ValueError(
                f"{key}.column names {self.column!r}, of kind {kind}: `by` changes numbers, `values` categories and booleans, and nothing "
                "changes others"
            )
        if self.direction is not None and TASKS[target.task].has_many_labels:
            raise ValueError(
                f"{key}.direction: the probabilities of {len(target.labels)} labels have no direction; use moves_at_most"
            )
        declared = columns[self.column].values if self.column in columns else None
        if declared and self.values not in (None, "all"):
            for value in self.values or ():
                if value not in declared:
                    raise ValueError(f"{key}.values lists {value!r}, which data.columns.{self.column} does not allow")

    def _kind(self, key: str, columns: Mapping[str, Column], features: Mapping[str, Any]) -> str:
        computed = histories(features)
        if self.column in computed:
            return "number"
        if self.column not in columns:
            raise ValueError(
                f"{key}.column names {self.column!r}, which is neither in data.columns nor a feature of transform history"
            )
        readers = {name: entry for name, entry in features.items() if name not in computed}
        reading = [entry for name, entry in readers.items() if self.column in inputs_of(name, entry)]
        if not reading:
            past = [name for name, entry in computed.items() if self.column in entry.columns()]
            why = (
                f"only its history is read, by {', '.join(past)}: name one of these" if past else "no feature reads it"
            )
            raise ValueError(f"{key}.column names {self.column!r}, but {why}")
        column = columns[self.column]
        if column.kind == "boolean" and self.values not in (None, "all"):
            raise ValueError(f"{key}.values: {self.column!r} is a boolean, which has both values; write `values: all`")
        is_listed = column.kind == "boolean" or any(entry.transform in _LISTING for entry in reading)
        if self.values == "all" and not is_listed:
            raise ValueError(f"{key}.values: all: the model knows no list of the values of {self.column!r}; list them")
        return column.kind


def check(
    entries: tuple[Behaviour, ...], columns: Mapping[str, Column], features: Mapping[str, Any], target: TargetParams
) -> None:
    """Raise ValueError for the first entry that does not fit the table, or is there twice."""
    for index, entry in enumerate(entries):
        entry.check(f"evaluate.behaviour[{index}]", columns, features, target)
        if entry.name in [other.name for other in entries[:index]]:
            raise ValueError(f"evaluate.behaviour[{index}] is there twice: {entry.name}")
