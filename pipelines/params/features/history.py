"""The transform `history`: a statistic of other rows, known before the moment of prediction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from contract.model.transforms import ELAPSED_UNITS
from contract.schema.tasks import TASKS
from pipelines.params.column import Column, require_columns
from pipelines.params.features.base import FeatureModel
from pipelines.params.target import TargetParams

_PERIOD = re.compile(rf"(\d{{1,6}})({'|'.join(ELAPSED_UNITS)})", re.ASCII).fullmatch
_GROUPING = ("category", "identifier", "boolean")


@dataclass(frozen=True)
class Statistic:
    """A statistic of the rows in a window; `pipelines.data.history.windows` computes it.

    Attributes:
        meaning: for the reference.
        of_value: if true, it needs the key `value`, and rows without a value do not count.
        unit: unit of the result; None: that of the value.
        is_within: if true, the result is one of the values, and within their bounds.
    """

    meaning: str
    of_value: bool = True
    unit: str | None = None
    is_within: bool = False


STATISTICS = {
    "count": Statistic("number of rows", of_value=False, unit="rows"),
    "sum": Statistic("sum of the values"),
    "mean": Statistic(
        "mean of the values; of a boolean or a binary target the share of true, or of the positive label"
    ),
    "min": Statistic("smallest value", is_within=True),
    "max": Statistic("largest value", is_within=True),
    "last": Statistic("value that became known last; of several at once the largest", is_within=True),
    "age": Statistic("minutes since a row became known last", of_value=False, unit="min"),
    "pending": Statistic(
        "number of rows whose own time lies in the window, and that are not known yet", of_value=False, unit="rows"
    ),
}
if TYPE_CHECKING:
    StatisticName = str
else:  # at run time, so that errors and the reference list the statistics
    StatisticName = Literal[tuple(STATISTICS)]


def period(text: str) -> timedelta:
    """Return the time in a text such as `90s`, `30min`, `2h` or `28d`.

    Raises:
        ValueError: it is none.
    """
    if (match := _PERIOD(text)) is None:
        raise ValueError("must be a period such as 90s, 30min, 2h or 28d")
    return int(match[1]) * ELAPSED_UNITS[match[2]]


def _check_period(text: str) -> str:
    period(text)
    return text


Duration = Annotated[str, AfterValidator(_check_period)]


class HistoryFeature(FeatureModel):
    """A statistic of other rows, of what had happened and was known before the moment of prediction.

    A row becomes known at its `known_at`, but not before its own `data.time`. The moment lies `horizon` before `data.time`; what becomes
    known at the moment itself does not count. A request carries the result as a number under the feature's name.
    """

    # A request carries it under the feature's own name.
    input: ClassVar[None] = None

    transform: Literal["history"] = Field(
        description="A statistic of other rows, known before the moment of prediction."
    )
    statistic: StatisticName = Field(
        description="; ".join(f"`{name}`: {entry.meaning}" for name, entry in STATISTICS.items())
        + ". Of no row, `count`, `sum` and `pending` are 0, and the others are missing."
    )
    value: str | None = Field(
        default=None,
        description="Column of the values: a number, a boolean or the target; rows without a value do not count. Null for `count`, `age` "
        "and `pending`.",
    )
    by: tuple[str, ...] = Field(
        default=(),
        description="Columns whose values a row must share to count. Empty: every row counts. Missing in a row: so is its history.",
    )
    known_at: str = Field(
        description="Timestamp at which a row is known. Rows without one are never known. It and `data.time` (or its `utc_of`) both "
        "have an offset, or neither has."
    )
    window: Duration = Field(
        description="Length of the window, which ends at the moment of prediction: `90s`, `30min`, `2h`, `28d`."
    )
    horizon: Duration = Field(default="60min", description="Time from the moment of prediction to `data.time`.")

    @property
    def encoded_as(self) -> str:
        return "value"

    def declared(self) -> dict[str, Any]:
        return {}

    def columns(self) -> tuple[str, ...]:
        """Return the columns of the table that it reads, besides the time."""
        return tuple(dict.fromkeys((*self.by, self.known_at, *((self.value,) if self.value else ()))))

    def check_table(self, name: str, columns: Mapping[str, Column], time: str | None, target: TargetParams) -> None:
        """Raise ValueError if the table does not suit the feature `name`."""
        key = f"features.{name}"
        if not period(self.window):
            raise ValueError(f"{key}.window must be longer than 0 (it is {self.window!r})")
        if time is None:
            raise ValueError(f"{key}: history needs data.time, from which the moment of prediction is counted")
        if name in columns:
            raise ValueError(
                f"{key}: data.columns has a column of this name, under which a request carries the history; rename the feature"
            )
        require_columns(f"{key}.known_at", (self.known_at,), columns)
        if columns[self.known_at].kind != "timestamp":
            raise ValueError(
                f"{key}.known_at: {self.known_at!r} is of kind {columns[self.known_at].kind}, and not timestamp"
            )
        require_columns(f"{key}.by", self.by, columns)
        for column in self.by:
            if columns[column].kind not in _GROUPING:
                raise ValueError(
                    f"{key}.by: {column!r} is of kind {columns[column].kind}; rows are grouped by {', '.join(_GROUPING)}"
                )
            if columns[column].is_later:
                raise ValueError(
                    f"{key}.by: {column!r} is known: later, so its group is unknown at the moment of prediction"
                )
        self._check_value(f"{key}.value", columns, target)

    def _check_value(self, key: str, columns: Mapping[str, Column], target: TargetParams) -> None:
        if STATISTICS[self.statistic].of_value != (self.value is not None):
            needs = [name for name, entry in STATISTICS.items() if entry.of_value]
            raise ValueError(f"{key}: the statistics {', '.join(needs)} need a value, and the others take none")
        if self.value is None:
            return
        if self.value == target.column:
            if TASKS[target.task].has_many_labels:
                raise ValueError(f"{key}: {self.value!r} has more than two labels, so it has no {self.statistic}")
            return
        require_columns(key, (self.value,), columns)
        if columns[self.value].kind not in ("number", "boolean"):
            raise ValueError(f"{key}: {self.value!r} is of kind {columns[self.value].kind}, and not number or boolean")
