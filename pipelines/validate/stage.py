"""Stage `validate`: every partition meets the suite, or the run stops here."""

from __future__ import annotations

import shutil
from typing import Any

from contract.errors import DataRejectedError, Problem
from contract.files import canonical_json, sha256, write_atomically
from pipelines import paths, tables
from pipelines.params import Params
from pipelines.validate.checks import check_months


def run(params: Params) -> str:
    """Check every month of `data.months`; write `reports/validation.json` and Data Docs, whatever the outcome.

    Raises:
        DataRejectedError: naming month, expectation, column and counts of what failed; no row values.
    """
    for month in params.data.months:
        tables.read(paths.partition(month))  # a cut or changed file stops here, with its name
    shutil.rmtree(paths.DATA_DOCS, ignore_errors=True)
    outcomes = check_months(params, paths.DATA_DOCS)
    write_atomically(paths.VALIDATION, canonical_json(_report(outcomes)))
    failed = [(month, outcome) for month, entries in outcomes.items() for outcome in entries if not outcome["success"]]
    if failed:
        months = sorted({month for month, _ in failed})
        raise DataRejectedError(
            f"{len(failed)} expectations failed in {', '.join(months)}; nothing was trained, and the live model stays. "
            f"Read {paths.DATA_DOCS}/index.html, then mend the source, or what params.yaml declares",
            [Problem(None, outcome["column"], f"{month}: {describe(outcome)}") for month, outcome in failed],
        )
    return f"{sum(map(len, outcomes.values()))} expectations hold on {len(outcomes)} months"


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


def _report(outcomes: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {
        month: {
            "success": all(outcome["success"] for outcome in entries),
            "partition_sha256": sha256(paths.partition(month)),
            "expectations": entries,
        }
        for month, entries in outcomes.items()
    }
