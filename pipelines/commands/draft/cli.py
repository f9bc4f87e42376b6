"""`python -m pipelines draft SOURCE --target COLUMN`: print a params.yaml for CSV or Parquet files."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from contract import command_line
from contract.errors import ConfigurationError, UsageError
from contract.files import write_atomically
from pipelines.commands.draft import assemble, reading, text
from pipelines.commands.draft.assemble import Draft
from pipelines.commands.draft.doubts import Weight
from pipelines.params import file as params_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `draft`, and `run`, a function of the options."""
    parser.add_argument("source", help="path, glob or URL of CSV or Parquet files")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict")
    parser.add_argument(
        "--time",
        metavar="COLUMN[,COLUMN]",
        help="the time of a row, in one column or several (date,hour); without it the table is one partition",
    )
    parser.add_argument("--unfinished", action="store_true", help="use incomplete and nearly empty months too")
    parser.add_argument("--name", default="model", help="name of the model (default: model)")
    parser.add_argument("--out", type=Path, help="new file for the draft (default: print it)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print or write the draft; a summary goes to stderr.

    Raises:
        ConfigurationError: a named column is missing or unsuitable, or the output file exists.
        UsageError: the target is among the columns of time.
    """
    if options.out and options.out.exists():
        raise ConfigurationError(f"--out: {options.out} exists and is not overwritten; name another file")
    source: dict[str, Any] = {"kind": "files", "path": options.source, "version": "1"}
    table, unread = reading.read(options.source, source)
    time = _columns(options.time, table.columns)
    for flag, names in (("target", [options.target]), ("time", time)):
        for name in names:
            if name not in table.columns:
                raise ConfigurationError(f"--{flag}: no column {name!r}; the columns are {', '.join(table.columns)}")
            if name in unread:
                raise ConfigurationError(f"--{flag}: {unread[name]}")
    if options.target in time:
        raise UsageError(f"--time: {options.target!r} is the target, which is unknown at the time of a request")
    draft = assemble.draft(
        table, source, options.name, options.target, time, keep_unfinished=options.unfinished, unread=unread
    )
    content = text.render(draft).encode()
    params_file.parse(content, "the draft")
    if options.out:
        write_atomically(options.out, content)
    else:
        print(content.decode(), end="")
    command_line.tell(_summary(draft, table.height, options.out))
    return 0


def _columns(time: str | None, columns: list[str]) -> list[str]:
    if time is None:
        return []
    return [time] if time in columns else time.split(",")


def _summary(draft: Draft, rows: int, out: Path | None) -> str:
    plural = {"category": "categories"}
    kinds = Counter(entry.kind for entry in draft.columns)
    told = ", ".join(f"{count} {kind if count == 1 else plural.get(kind, kind + 's')}" for kind, count in kinds.items())
    place = out or "the draft"
    first = [
        f"  {doubt.about}: {doubt.question.removesuffix(' Then').removesuffix(' If not')}"
        for doubt in draft.doubts
        if doubt.weight is Weight.FIGURES
    ]
    return "\n".join(
        [
            f"draft: {rows:,} rows; {told}",
            f"target {draft.target['column']}: {draft.target['task']}; {len(draft.doubts)} doubts, each a line with `# ?`; a wrong "
            f"answer to {len(first)} of them makes the figures wrong" + (":" if first else ""),
            *first,
            f"next: review {place}, decide each doubt, make it your params.yaml, and run `make up`",
        ]
    )
