"""Ragged records of a CSV file, which a parser would pad or truncate silently: found by counting fields before it is parsed."""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import polars as pl

from contract.errors import DataRejectedError


class OddRecords(NamedTuple):
    """Records with another number of fields than the header; they count from 0 below it, in the order of the file.

    Attributes:
        blank: records without any field; none where the table has one column, which may be empty.
        ragged: records with more or fewer fields than the header, with their line numbers, from 1.
    """

    blank: list[int]
    ragged: dict[int, int]


def odd_records(content: str | bytes, separator: str, quote: str | None, name: str) -> OddRecords:
    """Count the fields of every record of a file in UTF-8, given by its path or as bytes; errors call it `name`.

    Raises:
        DataRejectedError: a quote is not closed, or no record has as many fields as the header.
    """
    counts = _counts(content, separator, quote)
    if counts["torn"].any():
        counts = pl.DataFrame(list(_parsed(content, separator, quote, name)), schema=["line", "fields"], orient="row")
    counts = counts.slice((counts["fields"] > 0).arg_max() or 0)  # blank lines above the header are no records
    width, records = int(counts["fields"].head(1).sum()), counts[1:].with_row_index("record")
    blank = pl.col("fields") == 0
    ragged = records.filter(pl.col("fields") != width, ~blank)
    if 0 < ragged.height == records.filter(~blank).height:
        raise DataRejectedError(
            f"{name} has {width} fields in its header and a different number in every other line; check separator, quote and encoding"
        )
    return OddRecords(
        records.filter(blank)["record"].to_list() if width != 1 else [],
        dict(zip(ragged["record"], ragged["line"], strict=True)),
    )


def _counts(content: str | bytes, separator: str, quote: str | None) -> pl.DataFrame:
    """Return by line its number from 1, its fields (0 if blank), and whether it has quotes that do not enclose a field."""
    bare = pl.col("text").str.strip_chars_end("\r")
    torn = pl.lit(False)
    if quote is not None:
        border, mark = re.escape(separator), re.escape(quote)
        bare = bare.str.replace_all(f"(^|{border}){mark}(?:[^{mark}]|{mark}{mark})*{mark}", "${1}-")
        torn = bare.str.contains(quote, literal=True)
    fields = pl.when(bare != "").then(bare.str.count_matches(separator, literal=True) + 1).otherwise(0)
    lines = pl.scan_lines(content, name="text", row_index_name="line", row_index_offset=1)
    return lines.select("line", fields=fields, torn=torn).collect(engine="streaming")


def _parsed(content: str | bytes, separator: str, quote: str | None, name: str) -> Iterator[tuple[int, int]]:
    """Yield by record, which may span several lines, the number of its first line and its fields."""
    csv.field_size_limit(sys.maxsize)  # the default refuses a field beyond 128 KiB
    line = 1
    with io.TextIOWrapper(opened(content), "utf-8", newline="") as text:
        reader = csv.reader(text, delimiter=separator, quotechar=quote, strict=True)
        try:
            for record in reader:
                yield line, len(record)
                line = reader.line_num + 1
        except csv.Error:
            raise DataRejectedError(
                f"{name}: a quote in the record that begins in line {line} is not closed; check quote, or correct the record"
            ) from None


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Raise DataRejectedError for a file that is empty, a directory, or no whole gzip file."""
    try:
        yield
    except IsADirectoryError:
        raise DataRejectedError(f"{name} is a directory; name the files in it, such as {name}/*.csv") from None
    except pl.exceptions.NoDataError:
        raise DataRejectedError(f"{Path(name).name} is empty; deliver it again, or remove it") from None
    except (EOFError, zlib.error, OSError) as error:
        # Those of a disk have a number; polars has it in the text alone.
        if getattr(error, "errno", None) is not None or "(os error" in str(error):
            raise
        raise DataRejectedError(f"{Path(name).name} is not a complete gzip file; deliver it again") from None


def opened(content: str | bytes) -> IO[bytes]:
    """Open a file, or its bytes, for reading; a `.gz` file is decompressed."""
    if isinstance(content, bytes):
        return io.BytesIO(content)
    path = Path(content)
    return gzip.GzipFile(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]
