"""A field: one key of a request, or one column of a table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """One key of a request, or one column of a table.

    Attributes:
        kind: one of `contract.schema.kinds.KINDS`.
        required: if true, a row without it is refused; a missing optional one is encoded as NaN.
        unit: of a number, for people; of a timestamp written as a number, its unit.
        minimum, maximum: inclusive bounds of a number, or None.
        pii: personal data: features made from it are neither counted nor logged.
        missing: texts that stand for a missing value, besides blank ones.
        decimal: decimal sign of numbers written as text.
        zone: of a timestamp: `UTC` if it needs an offset, as the table's have one; None if it may have none.
        source: names of its columns in the source, if they differ from its own.
        format: of a timestamp made of `source`: strftime format of their texts, joined by a space.
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
