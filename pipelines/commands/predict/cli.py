"""`python -m pipelines predict IN OUT`: a table of any size, scored as a server scores the same rows.

The table is read, scored and written a batch at a time. OUT appears when it is whole, and beside it, if rows were refused,
`OUT.refused` with their reasons, before it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from contract import command_line
from contract.errors import ConfigurationError, DataRejectedError, Problem, UsageError
from pipelines.commands.predict import model, output, tables
from pipelines.commands.predict.scoring import Scored, Scorer, Told
from pipelines.machine import scratch
from pipelines.paths import var_directory

_SHOWN = 10
_PROGRESS_S = 10.0
_EVERYTHING = "*"
# Of a list separated by commas, of which those within double quotes are part of a name.
_ENTRY = re.compile(r'\s*("(?:[^"]|"")*"\s*|[^,]*)(?:,|\Z)')


@dataclass
class Counts:
    """The rows so far."""

    scored: int = 0
    refused: int = 0
    fallbacks: Told = field(default_factory=Counter)
    reasons: Told = field(default_factory=Counter)

    def add(self, batch: Scored) -> None:
        """Add the rows of a batch."""
        self.scored += batch.answers.height
        self.refused += batch.refused.height if batch.refused is not None else 0
        self.fallbacks.update(batch.fallbacks)
        self.reasons.update(batch.reasons)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `predict`, and `run`, a function of the options."""
    parser.add_argument(
        "table",
        metavar="IN",
        help="Parquet or CSV: a file, a directory of parts, a glob or a URL; or a .yaml file that declares a source, as data.source",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="the file to write: .parquet or .csv")
    parser.add_argument(
        "--bundle",
        metavar="REF",
        help="a digest or its beginning, a channel, or a bundle's path (default: the live bundle)",
    )
    parser.add_argument(
        "--keep",
        metavar="COLUMNS",
        default="",
        help="columns of IN to copy, separated by commas, such as an id, a name with a comma in double quotes; `*`: all "
        "(default: none, rows are numbered)",
    )
    parser.add_argument(
        "--overwrite",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="replace OUT if it exists",
    )
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON, in the last line")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    started = time.perf_counter()
    output.check(options.out, overwrite=options.overwrite)
    path, digest = model.find(options.bundle)
    predictors = model.load(path, len(os.sched_getaffinity(0)))
    with tables.opened(options.table) as table:
        scorer = Scorer(predictors, digest, table, kept(options.keep, table.schema))
        counts = _write(scorer, options.out)
    seconds = time.perf_counter() - started
    print(_described(counts, digest, scorer.conversion.absent, options.out, seconds))
    if options.json:
        print(json.dumps(_outcome(counts, digest, options.out, seconds)))
    return 0


def kept(keep: str, names: Collection[str]) -> list[str]:
    """Return the columns that `--keep` names.

    Raises:
        ConfigurationError: the table lacks one of them.
        UsageError: one has a name such as those that are added.
    """
    wanted = list(names) if keep.strip() == _EVERYTHING else _listed(keep, names)
    if lacking := [name for name in wanted if name not in names]:
        raise ConfigurationError(
            f"--keep names {lacking[0]!r}, which the table does not have; it has {', '.join(map(repr, sorted(names)[:30]))}; "
            "a name with a comma, or with blanks at an end, stands in double quotes"
        )
    if own := [name for name in wanted if name.startswith("__")]:
        raise UsageError(
            f"--keep: {own[0]!r} begins with two underscores, as the columns that are added do; leave it out"
        )
    return list(dict.fromkeys(wanted))


def _listed(keep: str, names: Collection[str]) -> list[str]:
    """Return the names in a list, without double quotes around them unless a column's name has these itself."""
    entries = [entry for entry in map(str.strip, _ENTRY.findall(keep)) if entry]
    return [entry if entry in names else _unquoted(entry) for entry in entries]


def _unquoted(entry: str) -> str:
    """Return the text within double quotes, in which a quote stands doubled, and any other text unchanged."""
    return entry[1:-1].replace('""', '"') if len(entry) > 1 and entry[0] == entry[-1] == '"' else entry


def _write(scorer: Scorer, out: Path) -> Counts:
    """Write both tables; return the counts.

    Raises:
        DataRejectedError: the table has no row, or none that can be scored; then nothing is written.
    """
    counts, refused = Counts(), output.aside(out)
    with scratch.directory(var_directory() / "scratch") as place:

        def answers() -> Iterator[pl.DataFrame]:
            """Yield the answers; put refused rows aside, and say how far it is."""
            told = started = time.monotonic()
            for number, batch in enumerate(scorer.batches()):
                counts.add(batch)
                if batch.refused is not None:
                    batch.refused.write_parquet(place / f"{number:09}.parquet")
                if batch.answers.height:
                    yield batch.answers
                if time.monotonic() - told > _PROGRESS_S:
                    told, rows = time.monotonic(), counts.scored + counts.refused
                    command_line.tell(f"{rows:,} rows, {rows / (told - started):,.0f} a second")
            if counts.scored == 0:
                raise _nothing(counts)
            # Before the other table is there: a run that is killed between the two is simply run again.
            if parts := sorted(place.glob("*.parquet")):
                output.write(refused, (pl.read_parquet(part, memory_map=False) for part in parts))

        output.write(out, answers())
    if not counts.refused:
        with suppress(FileNotFoundError):  # of the table that was replaced
            refused.unlink()
    return counts


def _nothing(counts: Counts) -> DataRejectedError:
    if not counts.refused:
        return DataRejectedError("the table has no rows, so there is nothing to score")
    problems = [
        Problem(None, name, f"{problem} ({rows:,} rows)") for (name, problem), rows in counts.reasons.most_common()
    ]
    return DataRejectedError(f"none of {counts.refused:,} rows can be scored, so nothing is written", problems)


def _described(counts: Counts, digest: str, absent: list[str], out: Path, seconds: float) -> str:
    # Those of a column that is not there are said in one line.
    fallbacks = Counter({key: rows for key, rows in counts.fallbacks.items() if key[0] not in absent})
    lines = [f"predict: {counts.scored:,} rows scored by {digest[:12]}, {counts.refused:,} refused ({seconds:.1f} s)"]
    lines += [
        f"{what}: {text}"
        for what, told in (("refused", counts.reasons), ("fallback", fallbacks))
        for text in _most(told)
    ]
    if absent:
        lines.append(f"the table lacks optional columns, which are missing in every row: {', '.join(absent)}")
    lines.append(f"answers: {out}")
    if counts.refused:
        lines.append(f"refused rows: {output.aside(out)}")
    return "\n".join(lines)


def _most(told: Told) -> list[str]:
    shown = [f"{name or 'the line'}: {problem}, {rows:,} rows" for (name, problem), rows in told.most_common(_SHOWN)]
    return [*shown, *([f"… and {len(told) - _SHOWN} more"] if len(told) > _SHOWN else [])]


def _outcome(counts: Counts, digest: str, out: Path, seconds: float) -> dict[str, Any]:
    facts = {"rows": counts.scored, "refused": counts.refused, "digest": digest}
    links = {"answers": str(out.absolute())} | (
        {"refused": str(output.aside(out).absolute())} if counts.refused else {}
    )
    return {"stage": "predict", "state": "ran", "seconds": round(seconds, 3), "facts": facts, "links": links}
