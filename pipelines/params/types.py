"""Types of the keys of `params.yaml`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from contract.schema import kinds

WHOLE = "all"  # the only "month" of a table without time


def matching(pattern: str, said: str) -> AfterValidator:
    """Return the check that a text matches the whole pattern; it raises ValueError with what is `said`."""
    matches: Callable[[str], object] = re.compile(pattern, re.ASCII).fullmatch

    def check(text: str) -> str:
        if not matches(text):
            raise ValueError(said)
        return text

    return AfterValidator(check)


Month = Annotated[str, matching(r"[12]\d{3}-(0[1-9]|1[0-2])|all", f'must be a month such as "2026-01", or {WHOLE}')]
Period = Annotated[str, matching(r"[1-9]\d{0,3}(mo|d)", "must be a number of months or days, such as 1mo or 14d")]
# What NumPy, scikit-learn and XGBoost all take.
Seed = Annotated[int, Field(ge=0, le=2_000_000_000)]
# `0` in YAML is text too, as in a CSV file; trimmed, as the table's values are.
Text = Annotated[str, StringConstraints(strip_whitespace=True), Field(coerce_numbers_to_str=True)]
Share = Annotated[float, Field(ge=0, le=1)]


def _refuse_internal(name: str) -> str:
    if name.startswith("__"):
        raise ValueError("a name must not begin with two underscores, which the pipeline's own columns do")
    return name


Name = Annotated[
    str,
    matching(
        r"[A-Za-z_][A-Za-z0-9_.-]{0,99}",
        "a name has ASCII letters, digits, _, . and -, begins with a letter or _, and is not longer than 100 characters",
    ),
    AfterValidator(_refuse_internal),
]
if TYPE_CHECKING:
    Kind = str
    RequestedKind = str
else:  # at run time, so that errors and the reference list the kinds
    Kind, RequestedKind = Literal[tuple(kinds.KINDS)], Literal[kinds.REQUESTED]
Part = Literal["minute_of_day", "hour", "weekday", "day", "month", "day_of_year", "week"]


class Model(BaseModel):
    """A frozen model that refuses unknown keys, and numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)
