"""Rows under the names of their source: requests may carry the columns that `data.source` renames or combines."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from typing import Any

from contract.model.row_program import Row
from contract.schema import timestamps
from contract.schema.schema import Field


class Refused:
    """A placeholder in a row for a value that cannot be made of the source's columns; every parser refuses it.

    Attributes:
        problem: the reason, without any value.
    """

    __slots__ = ("problem",)

    def __init__(self, problem: str) -> None:
        self.problem = problem


class Sources:
    """The conversion from the source's columns to a schema's fields; false if every field has its column's name."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._declared = frozenset(field.name for field in fields)
        self._fields = [field for field in fields if field.source not in ((), (field.name,))]
        self._readers = {field.name: timestamps.in_format(field) for field in self._fields if field.format is not None}
        # A column that is a field itself is read as that field; what is made of it takes it from there.
        self.names = frozenset(name for field in self._fields for name in field.source) - self._declared

    def __bool__(self) -> bool:
        return bool(self._fields)

    def concern(self, names: Collection[str]) -> bool:
        """Return whether rows with these names have columns of the source to convert."""
        return not self.names.isdisjoint(names) or bool(self.given(names))

    def declared(self, row: Any) -> Any:
        """Return the row under the names of the schema; a value that cannot be made becomes `Refused`.

        A row with both a field and a column that it is made of is ambiguous, and refused.
        """
        if not isinstance(row, Mapping):
            return row
        made = {name: value for name, value in row.items() if name not in self.names}
        for field in self.given(row):
            made[field.name] = self._made(field, row)
        return made

    def given(self, names: Container[str]) -> list[Field]:
        """Return the fields that are made of the source's columns in a row, or a table, with these names."""
        return [field for field in self._fields if self._is_given(field, names)]

    def _is_given(self, field: Field, row: Container[str]) -> bool:
        """Return whether a row has columns for this field only, or all of its columns if each is a field itself."""
        own = [name for name in field.source if name not in self._declared]
        if own:
            # One is enough; then the others count as missing, as in the table.
            return any(name in row for name in own)
        return field.name not in row and all(name in row for name in field.source)

    def _made(self, field: Field, row: Row) -> Any:
        names = " and ".join(repr(name) for name in field.source)
        if field.name in row and field.name not in field.source:
            return Refused(f"is given twice: under its own name, and as {names} of the source")
        values = [row.get(name) for name in field.source]
        if field.format is None:
            return values[0]
        try:
            text = timestamps.combined(values, field)
            return None if text is None else self._readers[field.name](text)
        except ValueError as error:
            return Refused(f"made of {names}: {error}")
