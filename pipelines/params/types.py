"""Types of the keys of `params.yaml`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from contract.schema import kinds

WHOLE = "all"  # the only "month" of a table without time
Month = Annotated[str, Field(pattern=r"^(\d{4}-(0[1-9]|1[0-2])|all)$")]
Period = Annotated[str, Field(pattern=r"^[1-9]\d*(mo|d)$")]
# `0` in YAML is text too, as in a CSV file; trimmed, as the table's values are.
Text = Annotated[str, StringConstraints(strip_whitespace=True), Field(coerce_numbers_to_str=True)]
Share = Annotated[float, Field(ge=0, le=1)]


def _refuse_internal(name: str) -> str:
    if name.startswith("__"):
        raise ValueError("a name must not begin with two underscores, which the pipeline's own columns do")
    return name


Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,99}$"), AfterValidator(_refuse_internal)]
if TYPE_CHECKING:
    Kind = str
    RequestedKind = str
else:  # at run time, so that errors and the reference list the kinds
    Kind, RequestedKind = Literal[tuple(kinds.KINDS)], Literal[kinds.REQUESTED]
Part = Literal["minute_of_day", "hour", "weekday", "day", "month", "day_of_year", "week"]


class Model(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)
