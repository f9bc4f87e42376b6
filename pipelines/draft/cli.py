"""`python -m pipelines draft SOURCE --target COLUMN`: print a params.yaml for CSV or Parquet files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import polars as pl

from contract.errors import ConfigurationError, UnavailableError
from contract.files import write_atomically
from pipelines.collect import files
from pipelines.draft import inference, text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="path, glob or URL of CSV or Parquet files")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="what is to be predicted")
    parser.add_argument(
        "--time", metavar="COLUMN", help="the timestamp of a row; without it the table is one partition"
    )
    parser.add_argument("--name", default="model")
    parser.add_argument("--out", type=Path, help="a file that is not there yet; printed otherwise")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Draft, and print or write it.

    Raises:
        ConfigurationError: a named column is not there, or the file to write is.
    """
    if options.out and options.out.exists():
        raise ConfigurationError(f"--out: {options.out} is there already, and is not overwritten; name another file")
    source: dict[str, Any] = {"kind": "files", "path": options.source, "version": "1"}
    table = _read(options.source, source)
    for flag in ("target", "time"):
        column = getattr(options, flag)
        if column is not None and column not in table.columns:
            raise ConfigurationError(f"--{flag}: no column {column!r}; the columns are {', '.join(table.columns)}")
    if missing := inference.missing_tokens(table):
        source["missing"] = missing
    blank = pl.all().str.strip_chars().is_in(["", *missing])
    draft = text.render(
        table.with_columns(pl.when(~blank).then(pl.all())), source, options.name, options.target, options.time
    )
    if options.out:
        write_atomically(options.out, draft.encode())
    else:
        print(draft, end="")
    return 0


def _read(path: str, source: dict[str, Any]) -> pl.DataFrame:
    """All columns as text; separator and encoding are added to `source` where they are not the default."""
    with files.local_files(path) as names:
        if not names:
            raise UnavailableError(f"no file matches {path!r}")
        if names[0].endswith(".parquet"):
            return pl.scan_parquet(names).select(pl.all().cast(pl.String)).collect()
        head = Path(names[0]).read_bytes()[:100_000] if not names[0].endswith(".gz") else b""
        line = head.splitlines()[0] if head else b""
        separator = max([",", ";", "\t", "|"], key=lambda mark: line.count(mark.encode()))
        if separator != ",":
            source["separator"] = separator
        encoding = "utf-8"
        try:
            Path(names[0]).read_bytes().decode() if head else None
        except UnicodeDecodeError:
            encoding = source["encoding"] = "cp1252"
        try:
            return files.scan_csv(names, separator, '"', encoding).collect()
        except pl.exceptions.PolarsError as error:
            raise ConfigurationError(f"{path!r} cannot be read as CSV: {str(error).splitlines()[0][:200]}") from error
