"""A field: one key of a request, or one column of a table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """One key of a request.

    Attributes:
        kind: one of `contract.schema.kinds.KINDS`, which says what is read as one.
        required: whether a row in which it is missing is refused. An optional one that is missing is encoded as NaN.
        unit: of a number, for people; of a timestamp that is written as a number, the unit in which it counts.
        minimum, maximum: inclusive bounds of a number; None where there is none.
        pii: whether it tells of a person: what is made from it is neither counted nor logged.
        missing: texts that stand for a missing value, beside blank ones.
        decimal: the decimal sign of a number that is written as text.
        zone: of a timestamp: `UTC` where the table's have an offset, so that a request's needs one; None where they have none.
        source: names in the source of the column, or the columns, that it is made of, where they differ from its own.
        format: of a timestamp that is made of `source`: how their texts, joined by a space, are written (strftime).
    """

    name: str
    kind: str
    required: bool = True
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    description: str | None = None
    pii: bool = False
    missing: tuple[str, ...] = ()
    decimal: str = "."
    zone: str | None = None
    source: tuple[str, ...] = ()
    format: str | None = None
