"""Stage `validate`: rows that break what is declared are split off, every month meets the suite, or the run stops here."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

import polars as pl

from contract.errors import DataRejectedError, Problem
from contract.files import atomic_path, canonical_json, sha256, write_atomically
from pipelines import paths, tables
from pipelines.params import Params
from pipelines.quarantine.ledger import Batch, Ledger, batch_id, refuse_dropped
from pipelines.settings import var_directory
from pipelines.validate import rows
from pipelines.validate.checks import check_months

# What is not measured, but only names or orders a row, is not expected to vary.
_VARYING_KINDS = ("number", "boolean", "category", "timestamp")


def run(params: Params) -> str:
    """Check every month of `data.months`.

    Writes `data/accepted` (the rows that go on), `data/quarantine` (those that were split off, with their reasons),
    `reports/validation.json`, Data Docs and the ledger of batches, whatever the outcome.

    Raises:
        DataRejectedError: naming month, expectation, column and counts of what failed; no row values.
    """
    months = params.data.months
    digests = {month: _digest(month) for month in months}
    ledger = Ledger(var_directory() / "quarantine")
    refuse_dropped(ledger.read(), [batch_id(month, digest) for month, digest in digests.items()])
    for directory in (paths.DATA_DOCS, paths.ACCEPTED, paths.QUARANTINED):
        shutil.rmtree(directory, ignore_errors=True)
    splits, varying = {}, {}
    for month in months:
        table = tables.read(paths.partition(month))  # a cut or changed file stops here, with its name
        splits[month] = _split(table, params, month)
        varying[month] = _varying(table, params)
    files = {
        month: paths.accepted(month) if paths.accepted(month).exists() else paths.partition(month) for month in months
    }
    outcomes = check_months(params, files, {month: _elsewhere(varying, month) for month in months}, paths.DATA_DOCS)
    for month, (total, counts, split_off) in splits.items():
        outcomes[month].append(_budget_outcome(total, split_off, counts, params.validate_.budget))
    report = _report(outcomes, digests, splits)
    counted = {month: entry["split"] for month, entry in report.items()}
    write_atomically(paths.QUARANTINED / "counts.json", canonical_json(counted))
    write_atomically(paths.VALIDATION, canonical_json(report))
    ledger.settle([(_batch(month, entry), paths.partition(month)) for month, entry in report.items()])
    _refuse_failed(outcomes)
    split_off = sum(entry["split_rows"] for entry in report.values())
    aside = f", {split_off} rows split off" if split_off else ""
    over = "1 month" if len(outcomes) == 1 else f"{len(outcomes)} months"
    return f"{sum(map(len, outcomes.values()))} expectations hold on {over}{aside}"


def describe(outcome: dict[str, Any]) -> str:
    """What failed, in words: the expectation, the counts, what was asked."""
    words = [outcome["type"]]
    if "error" in outcome:
        words.append(outcome["error"])
    if "unexpected_count" in outcome:
        words.append(f"{outcome['unexpected_count']} of {outcome.get('element_count', '?')} rows")
    if "observed" in outcome:
        words.append(f"observed {outcome['observed']}")
    asked = {key: value for key, value in outcome["kwargs"].items() if key != "unexpected_rows_query"}
    words.append(f"asked {asked}" if asked else "")
    return "; ".join(word for word in words if word)


def _digest(month: str) -> str:
    path = paths.partition(month)
    if not path.is_file():
        raise DataRejectedError(f"{path} is missing; run `dvc repro` to collect {month}")
    return sha256(path)


def _split(table: pl.DataFrame, params: Params, month: str) -> tuple[int, dict[str, int], int]:
    """Write the accepted and the quarantined rows of a month, if the budget allows it; returns rows, counts and rows split off.

    Without a budget no row is split off, and the whole month is judged.
    """
    budget, partition = params.validate_.budget, paths.partition(month)
    parts = rows.split(table, params, month) if budget else rows.Split(table, table.clear(), {})
    if parts.quarantined.height > budget * table.height:
        return table.height, parts.counts, parts.quarantined.height
    if parts.counts:
        tables.write(parts.quarantined, paths.QUARANTINED / partition.name)
        tables.write(parts.accepted, paths.accepted(month))
    else:
        with atomic_path(paths.accepted(month)) as temporary:
            shutil.copyfile(partition, temporary)
    return table.height, parts.counts, parts.quarantined.height


def _varying(table: pl.DataFrame, params: Params) -> dict[str, bool]:
    """By column that has any value: whether it has several."""
    names = [name for name, column in params.data.columns.items() if column.kind in _VARYING_KINDS]
    values = {name: table[name].drop_nulls() for name in names if name in table.columns}
    return {name: bool(column.min() != column.max()) for name, column in values.items() if len(column)}


def _elsewhere(varying: Mapping[str, Mapping[str, bool]], month: str) -> set[str]:
    others = {
        name for other, columns in varying.items() if other != month for name, varies in columns.items() if varies
    }
    return others & set(varying[month])


def _budget_outcome(total: int, split_off: int, counts: Mapping[str, int], budget: float) -> dict[str, Any]:
    return {
        "type": "rows_split_off",
        "column": None,
        "kwargs": {"budget": budget},
        "success": split_off <= budget * total,
        "element_count": total,
        "unexpected_count": split_off,
        "observed": dict(counts),
    }


def _report(
    outcomes: dict[str, list[dict[str, Any]]],
    digests: Mapping[str, str],
    splits: Mapping[str, tuple[int, dict[str, int], int]],
) -> dict[str, Any]:
    report = {}
    for month, entries in outcomes.items():
        rows_total, counts, split_off = splits[month]
        report[month] = {
            "success": all(outcome["success"] for outcome in entries),
            "batch": batch_id(month, digests[month]),
            "partition_sha256": digests[month],
            "rows": rows_total,
            "split": counts,
            "split_rows": split_off,
            "expectations": entries,
        }
    return report


def _batch(month: str, entry: Mapping[str, Any]) -> Batch:
    failed = [outcome for outcome in entry["expectations"] if not outcome["success"]]
    return Batch(
        id=entry["batch"],
        month=month,
        sha256=entry["partition_sha256"],
        state="accepted" if entry["success"] else "quarantined",
        rows=entry["rows"],
        split=entry["split"],
        problems=tuple(str(Problem(None, outcome["column"], describe(outcome))) for outcome in failed),
    )


def _refuse_failed(outcomes: Mapping[str, list[dict[str, Any]]]) -> None:
    failed = [(month, outcome) for month, entries in outcomes.items() for outcome in entries if not outcome["success"]]
    if failed:
        months = sorted({month for month, _ in failed})
        raise DataRejectedError(
            f"{len(failed)} expectations failed in {', '.join(months)}; nothing was trained, and the live model stays. "
            f"Read {paths.DATA_DOCS}/index.html and `python -m pipelines quarantine show {months[0]}`, then mend the source, "
            f"or what params.yaml declares, and `python -m pipelines quarantine release {months[0]}`",
            [Problem(None, outcome["column"], f"{month}: {describe(outcome)}") for month, outcome in failed],
        )
