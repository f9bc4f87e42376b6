"""`data.columns` of `params.yaml`: the declaration of columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Literal, Self

from pydantic import Field, model_validator

from contract.schema.kinds import KINDS
from contract.schema.texts import parse_number
from pipelines.params.types import Kind, Model, Share, Text


class Column(Model):
    """One column of the table."""

    kind: Kind = Field(description=f"{'; '.join(f'`{name}`: {kind.meaning}' for name, kind in KINDS.items())}.")
    known: Literal["before", "later"] = Field(
        default="before",
        description="`later`: known only after the prediction, such as the time at which something really happened. No request carries "
        "it, and only features of the transform `history` may read it.",
    )
    utc_of: str | None = Field(
        default=None,
        description="Of a timestamp with an offset: the local timestamp that is the same moment. Histories order rows by it in place of "
        "`data.time`, since local times repeat when clocks change.",
    )
    required: bool = Field(default=True, description="If true, a request must carry it.")
    unit: str | None = Field(
        default=None,
        description="Unit, for people. Of a timestamp or a duration written as a number: the unit of that number.",
    )
    minimum: float | None = Field(
        default=None, description="Smallest value of a number. A request below it is refused."
    )
    maximum: float | None = Field(default=None, description="Largest value of a number. A request above it is refused.")
    values: tuple[Text, ...] | None = Field(default=None, description="Allowed values of a category. Null: any.")
    missing: Share | None = Field(
        default=None,
        description="Largest share of missing values in a month. Null: 0 if `required` and not `known: later`, else 1.",
    )
    missing_values: tuple[Text, ...] = Field(
        default=(),
        description='Tokens that mean a missing value in this column, such as `["-1"]`, in requests too. Numbers are compared by value, '
        "so that `-1` equals `-1.0`; texts letter by letter, so that it does not.",
    )
    tolerance: Share = Field(
        default=0.0, description="Largest share of a month's values that may violate this declaration."
    )
    may_be_constant: bool = Field(
        default=False,
        description="If true, all rows of one month may have the same value although other months vary, such as a season.",
    )
    may_drift: bool = Field(
        default=False,
        description="If true, the distribution may drift from month to month, such as that of a year or a price index.",
    )
    pii: bool = Field(
        default=False,
        description="If true, its values are personal data. They may not enter the bundle, so features that would carry them are refused, "
        "and servers neither count nor log features made from it.",
    )
    protected: bool = Field(
        default=False,
        description="If true, the evaluation compares rates, errors and calibration between groups of its values (a number: quarters). "
        "Whether a feature reads it is another matter.",
    )
    description: str | None = Field(default=None, description="Text for people, on the OpenAPI page.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pii and self.values:
            raise ValueError(
                "values of a column that is marked pii would enter the bundle with params.yaml; leave them out"
            )
        if self.protected and self.pii:
            raise ValueError(
                "a column that is marked protected cannot be marked pii: its values name the groups in the bundle's evidence"
            )
        if self.protected and self.kind in ("timestamp", "identifier"):
            raise ValueError(f"protected goes with a category, a boolean or a number (the kind is {self.kind})")
        if self.is_later and "required" in self.model_fields_set:
            raise ValueError("required is about requests, and none carries a column that is known: later; remove it")
        if self.utc_of is not None and self.kind != "timestamp":
            raise ValueError(f"utc_of goes with a timestamp only (the kind is {self.kind})")
        self._check_range()
        units = KINDS[self.kind].units
        if units is not None and self.unit not in (None, *units):
            raise ValueError(
                f"unit {self.unit!r} of a {self.kind} is unknown; one that is written as a number has {', '.join(units)}"
            )
        return self

    def _check_range(self) -> None:
        bounds = [bound for bound in (self.minimum, self.maximum) if bound is not None]
        if bounds and not self.is_number:
            raise ValueError(f"minimum and maximum go with a number only (the kind is {self.kind})")
        if bounds != sorted(bounds):
            raise ValueError(f"minimum must not exceed maximum ({self.minimum:g} and {self.maximum:g})")
        if len(bounds) == 2 and not set(bounds) - _numbers(self.missing_values):
            raise ValueError("minimum and maximum are among missing_values; name a range whose ends are values")
        if self.values is None:
            return
        if KINDS[self.kind].canonical is not str:
            raise ValueError(f"values go with a category only (the kind is {self.kind})")
        if both := sorted(set(self.values) & set(self.missing_values)):
            raise ValueError(f"{both[0]!r} cannot be one of values and of missing_values; remove it from one of them")
        if not self.values or "" in self.values or len(set(self.values)) != len(self.values):
            raise ValueError("values must have at least one, none of them blank, and none twice")

    @property
    def is_number(self) -> bool:
        """True if its canonical values are numbers."""
        return KINDS[self.kind].canonical is float

    @property
    def is_later(self) -> bool:
        """True if it is known only after the prediction."""
        return self.known == "later"

    @property
    def must_be_there(self) -> bool:
        """True if a row without it, above the budget of its month, is refused."""
        return self.required and not self.is_later

    @property
    def missing_budget(self) -> float:
        """Largest share of nulls in a month: by default none for a required column, and any for another."""
        if self.missing is not None:
            return self.missing
        return 0.0 if self.must_be_there else 1.0


def require_columns(key: str, names: tuple[str, ...], columns: Mapping[str, Column]) -> None:
    """Raise ValueError if the key names an undeclared column."""
    for name in names:
        if name not in columns:
            raise ValueError(f"{key} names the column {name!r}, which data.columns does not have: {', '.join(columns)}")


def _numbers(tokens: Iterable[str]) -> set[float]:
    numbers = set()
    for token in tokens:
        with suppress(ValueError):
            numbers.add(parse_number(token.strip(), "."))
    return numbers
