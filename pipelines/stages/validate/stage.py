"""Stage `validate`: bad rows are split off, and every month must meet the suite, or the run stops."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from contract.errors import DataRejectedError, Problem
from contract.files import canonical_json, sha256, write_atomically
from pipelines import paths
from pipelines.data.integrity.objects import md5_of
from pipelines.data.ledger import Batch, batch_id, inputs_digest, project_ledger, refuse_dropped
from pipelines.data.refused import remove_others, withdraw
from pipelines.params.params import Column, Data, Params, TargetParams, Validate
from pipelines.stages.validate import checks, drift, library, rows
from pipelines.stages.validate.delivery import Month, deliver

_SHOWN = 10


def run(params: Params) -> str:
    """Check every month of `data.months`.

    It writes `data/accepted` (the rows for training), `data/quarantine` (the rows split off, with their reasons),
    `reports/validation.json`, Data Docs and the ledger of batches, whatever the outcome.

    Raises:
        DataRejectedError: an expectation failed; with month, column and counts, and no row values.
    """
    data, target, declared = params.data, params.target, params.validate_
    months = data.months
    remove_others(months)
    digests = {month: _digest(month) for month in months}
    ledger = project_ledger()
    _refuse_dropped(ledger.read(), digests)
    for directory in (paths.DATA_DOCS, paths.ACCEPTED, paths.QUARANTINED):
        shutil.rmtree(directory, ignore_errors=True)
    with ThreadPoolExecutor(1) as beside:
        beside.submit(library.load)  # a failure is raised again below, in this thread
        delivered = {month: deliver(data, target, declared.budget, month) for month in months}
    outcomes = _outcomes(data, target, declared, delivered)
    report = _report(outcomes, digests, delivered, inputs_digest(data, target, declared, digests))
    counted = {month: entry["split"] for month, entry in report.items()}
    write_atomically(paths.QUARANTINED / "counts.json", canonical_json(counted))
    write_atomically(paths.VALIDATION, canonical_json(report))
    settled = ledger.settle([(_batch(month, entry), paths.partition(month)) for month, entry in report.items()])
    for batch in settled:
        if batch.state == "quarantined" and "accepted" not in batch.history:
            withdraw(paths.partition(batch.month))
    _refuse_failed(outcomes)
    split_off = sum(entry["split_rows"] for entry in report.values())
    aside = f", {split_off} rows split off" if split_off else ""
    over = "1 month" if len(outcomes) == 1 else f"{len(outcomes)} months"
    return f"{sum(map(len, outcomes.values()))} expectations hold on {over}{aside}"


def _refuse_dropped(batches: dict[str, Batch], digests: Mapping[str, str]) -> None:
    """Raise DataRejectedError if a month is a dropped batch; the next run collects it anew."""
    names = {batch_id(month, digest): month for month, digest in digests.items()}
    for name in names.keys() & batches.keys():
        if batches[name].state == "dropped":
            withdraw(paths.partition(names[name]))
    refuse_dropped(batches, list(names))


def _outcomes(
    data: Data, target: TargetParams, declared: Validate, delivered: Mapping[str, Month]
) -> dict[str, list[dict[str, Any]]]:
    """Return the outcomes by month: of Great Expectations, the budget, the offsets, and the drift."""
    varying = {month: found.varying for month, found in delivered.items()}
    outcomes = checks.check_months(
        data,
        target,
        declared,
        {month: found.file for month, found in delivered.items()},
        {month: found.rows for month, found in delivered.items()},
        {month: _elsewhere(varying, month) for month in delivered},
        paths.DATA_DOCS,
    )
    for month, found in delivered.items():
        outcomes[month].append(_budget_outcome(found, declared.budget))
        outcomes[month] += _offset_outcomes(found, delivered, data.columns)
    if declared.drift is not None:
        summaries = {month: found.summaries for month, found in delivered.items()}
        for month, judged in drift.judge(summaries, declared.drift, declared.reviewed).items():
            outcomes[month] += judged
    return outcomes


def describe(outcome: dict[str, Any]) -> str:
    """Return a failed outcome as text: the expectation, the counts, and its arguments."""
    if outcome["type"] == drift.TYPE:
        return drift.describe(outcome)
    words = [outcome["type"]]
    if "description" in outcome:
        words.append(outcome["description"])
    if "error" in outcome:
        words.append(outcome["error"])
    if "unexpected_count" in outcome:
        words.append(f"{outcome['unexpected_count']} of {outcome.get('element_count', '?')} rows")
    if outcome.get("ragged"):
        words.append(f"lines with more or fewer fields than the header: {', '.join(outcome['ragged'])}")
    if "observed" in outcome:
        words.append(f"observed {outcome['observed']}")
    asked = {key: value for key, value in outcome["kwargs"].items() if key != "unexpected_rows_query"}
    words.append(f"required: {asked}" if asked else "")
    return "; ".join(word for word in words if word)


def _digest(month: str) -> str:
    path = paths.partition(month)
    if not path.is_file():
        raise DataRejectedError(f"{path} is missing; run `dvc repro` to collect {month}")
    return sha256(path)


def _elsewhere(varying: Mapping[str, Mapping[str, bool]], month: str) -> set[str]:
    others = {
        name for other, columns in varying.items() if other != month for name, varies in columns.items() if varies
    }
    return others & set(varying[month])


def _budget_outcome(month: Month, budget: float) -> dict[str, Any]:
    return {
        "type": "rows_split_off",
        "column": None,
        "kwargs": {"budget": budget},
        "success": not rows.exceeds(month.split_rows, month.rows, budget),
        "element_count": month.rows,
        "unexpected_count": month.split_rows,
        "observed": dict(month.split),
        "ragged": list(month.ragged[:_SHOWN]),
    }


def _offset_outcomes(
    found: Month, delivered: Mapping[str, Month], columns: Mapping[str, Column]
) -> list[dict[str, Any]]:
    """Return whether each timestamp of a month has offsets exactly if the first month with times has them.

    Times with an offset are in UTC, others are local: mixed, they would be hours apart.
    """
    outcomes = []
    for name, column in columns.items():
        known = [(month, other) for month, other in delivered.items() if name in other.varying]
        if column.kind == "timestamp" and name in found.varying:
            first, reference = known[0]
            theirs, ours = ("with" if name in month.in_utc else "without" for month in (reference, found))
            outcomes.append(
                {
                    "type": "offsets_as_in_other_months",
                    "column": name,
                    "kwargs": {},
                    "success": theirs == ours,
                    "description": f"times are {ours} an offset, those of {first} {theirs} one",
                    "element_count": found.rows,
                    "unexpected_count": 0 if theirs == ours else found.rows,
                }
            )
    return outcomes


def _report(
    outcomes: dict[str, list[dict[str, Any]]], digests: Mapping[str, str], delivered: Mapping[str, Month], inputs: str
) -> dict[str, Any]:
    return {
        month: {
            "success": all(outcome["success"] for outcome in entries),
            "batch": batch_id(month, digests[month]),
            "partition_sha256": digests[month],
            "partition_md5": md5_of(paths.partition(month)),  # its name in DVC
            "inputs": inputs,
            "rows": delivered[month].rows,
            "split": delivered[month].split,
            "split_rows": delivered[month].split_rows,
            "expectations": entries,
        }
        for month, entries in outcomes.items()
    }


def _batch(month: str, entry: Mapping[str, Any]) -> Batch:
    failed = [outcome for outcome in entry["expectations"] if not outcome["success"]]
    return Batch(
        id=entry["batch"],
        month=month,
        sha256=entry["partition_sha256"],
        state="accepted" if entry["success"] else "quarantined",
        rows=entry["rows"],
        split=entry["split"],
        inputs=entry["inputs"],
        problems=tuple(str(Problem(None, outcome["column"], describe(outcome))) for outcome in failed),
    )


def _refuse_failed(outcomes: Mapping[str, list[dict[str, Any]]]) -> None:
    failed = [(month, outcome) for month, entries in outcomes.items() for outcome in entries if not outcome["success"]]
    if failed:
        months = sorted({month for month, _ in failed})
        raise DataRejectedError(
            f"{len(failed)} expectations failed in {', '.join(months)}; nothing was trained, and the live model stays. "
            f"Read {paths.DATA_DOCS}/index.html and `python -m pipelines quarantine show {months[0]}`, then correct the source and run "
            f"again, which collects the month anew; or correct params.yaml and run `python -m pipelines quarantine release {months[0]}`",
            [Problem(None, outcome["column"], f"{month}: {describe(outcome)}") for month, outcome in failed],
        )
