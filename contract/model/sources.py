"""Rows under the names of their source: columns that `data.source` renames or combines, as requests may carry them, too."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from typing import Any

from contract.model.row_program import Row
from contract.schema import timestamps
from contract.schema.schema import Field


class Refused:
    """Stands in a row for a value that cannot be had from the source's columns; no parser takes it.

    Attributes:
        problem: the reason, without any value.
    """

    __slots__ = ("problem",)

    def __init__(self, problem: str) -> None:
        self.problem = problem


class Sources:
    """From the columns of the source to the fields of a schema; false where every field has its column's own name."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._declared = frozenset(field.name for field in fields)
        self._fields = [field for field in fields if field.source not in ((), (field.name,))]
        self._readers = {field.name: timestamps.in_format(field) for field in self._fields if field.format is not None}
        self.names = frozenset(name for field in self._fields for name in field.source) - self._declared

    def __bool__(self) -> bool:
        return bool(self._fields)

    def concern(self, names: Collection[str]) -> bool:
        """Return whether rows of these names have any that is a column of the source, or that a field is made of."""
        return not self.names.isdisjoint(names) or any(self._is_given(field, names) for field in self._fields)

    def declared(self, row: Any) -> Any:
        """Return the row under the names of the schema; what it cannot be made of is left as it is, or `Refused`.

        A row with a column of the source and the field that is made of it is ambiguous.
        """
        if not isinstance(row, Mapping):
            return row
        made = {name: value for name, value in row.items() if name not in self.names}
        for field in self._fields:
            if self._is_given(field, row):
                made[field.name] = self._made(field, row)
        return made

    def _is_given(self, field: Field, row: Container[str]) -> bool:
        """Whether a row has the columns that this field alone is made of; or all of them where each is a field itself."""
        own = [name for name in field.source if name not in self._declared]
        if own:
            return any(name in row for name in own)
        return field.name not in row and all(name in row for name in field.source)

    def _made(self, field: Field, row: Row) -> Any:
        names = " and ".join(repr(name) for name in field.source)
        if field.name in row and field.name not in field.source:
            return Refused(f"is there twice: under its own name, and as {names} of the source")
        values = [row.get(name) for name in field.source]
        if field.format is None:
            return values[0]
        try:
            text = timestamps.combined(values, field)
            return None if text is None else self._readers[field.name](text)
        except ValueError as error:
            return Refused(f"made of {names}: {error}")
