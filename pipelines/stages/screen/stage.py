"""Stage `screen`: leaks, identifiers, duplicates and shared entities stop the run before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl

from contract.errors import DataRejectedError, Problem
from contract.files import canonical_json, write_atomically
from contract.schema.tasks import TASKS
from pipelines import paths
from pipelines.columns import identifiers
from pipelines.data import tables
from pipelines.data.splits import HOLDOUT, PART, TRAINING, VALIDATION
from pipelines.data.training import Rows
from pipelines.params.features.transforms import FeatureParams
from pipelines.params.judging.split import GroupedSplit, Split
from pipelines.params.params import Data, Gates, Params, inputs_of
from pipelines.stages.screen import leaks


def run(params: Params) -> str:
    """Write the measurements to `reports/screening.json`, then refuse those that `gates` of `params.yaml` does not allow.

    Raises:
        DataRejectedError: a feature predicts too much alone, is the target in disguise or is made of an identifier; rows are
            duplicates; or an entity is on both sides of the split. With the evidence.
    """
    rows = Rows(paths.TRAINING_ROWS)
    outcomes = rows.outcomes

    def measure(name: str) -> dict[str, float]:
        found = leaks.measure(rows.column(name), outcomes, params.target.task)
        return {key: round(value, 6) for key, value in found.items()}

    # NumPy sorts and counts without Python's lock; more threads would hold more columns in memory.
    with ThreadPoolExecutor(2) as threads:
        features = dict(zip(params.features, threads.map(measure, params.features), strict=True))
    parts = tables.read(paths.PARTS)[PART]
    report: dict[str, Any] = {
        "features": features,
        "identifiers": _identifiers(params.features, params.data),
        "repeated": _repeated(params.data.months, list(params.data.key)),
        "suspects": leaks.outliers(features, params.target.task),
    }
    if entity := _entity(params.split, params.gates):
        report["shared"] = {"entity": entity, **_shared(_column(params.data.months, entity), parts)}
    write_atomically(paths.SCREENING, canonical_json(report))
    if problems := [
        *_leaks(features, params.target.task, params.gates),
        *_named(report["identifiers"], params.gates),
        *_overlaps(params.data.key, report),
    ]:
        raise DataRejectedError(
            f"{len(problems)} findings before training; nothing was trained, and the live model stays. "
            f"All figures: {paths.SCREENING}",
            problems,
        )
    task = params.target.task
    name = max(features, key=lambda name: leaks.strength(features[name], task))
    told = leaks.describe(features[name], task)
    suspects = "".join(
        f"\n  suspected leak: {suspect}, {evidence}. If it is known only after the prediction, remove it from `features`; "
        "if not, list it in gates.reviewed"
        for suspect, evidence in report["suspects"].items()
        if suspect not in params.gates.reviewed  # a warning, not an error: some are legitimate
    )
    return f"{len(features)} features, the strongest is {name} ({told}); no row or entity on both sides{suspects}"


def _leaks(features: Mapping[str, Mapping[str, float]], task: str, gates: Gates) -> list[Problem]:
    problems = []
    for name, found in features.items():
        if found["error_reduction"] >= gates.disguise:
            problems.append(
                Problem(
                    None,
                    name,
                    f"is the target in disguise: alone it avoids {found['error_reduction']:.4f} of all errors "
                    f"(gates.disguise: {gates.disguise:g}); remove it from `features`",
                )
            )
        elif not TASKS[task].is_number and found["auc"] > gates.feature_auc and name not in gates.reviewed:
            problems.append(
                Problem(
                    None,
                    name,
                    f"predicts the outcome alone with ROC-AUC {found['auc']:.4f}, more than gates.feature_auc "
                    f"({gates.feature_auc:g}). If it is known only after the prediction, remove it from `features`; "
                    "if not, list it in gates.reviewed",
                )
            )
    return problems


def _identifiers(features: Mapping[str, FeatureParams], data: Data) -> dict[str, dict[str, str]]:
    """Return the features that read a number which looks like an identifier, with the column and the reason."""
    found: dict[str, dict[str, str]] = {}
    reasons: dict[str, str | None] = {}
    for name, feature in features.items():
        for column in inputs_of(name, feature):
            if column in data.columns and data.columns[column].is_number:
                if column not in reasons:
                    reasons[column] = identifiers.reason(column, _column(data.months, column).to_numpy())
                if reason := reasons[column]:
                    found[name] = {"column": column, "reason": reason}
    return found


def _named(found: Mapping[str, Mapping[str, str]], gates: Gates) -> list[Problem]:
    return [
        Problem(
            None,
            name,
            f"is made of {entry['column']!r}, which looks like an identifier ({entry['reason']}). If it names a person or a thing, "
            "declare it as `kind: identifier` and remove the feature; if it measures something, list the feature in "
            "gates.reviewed",
        )
        for name, entry in found.items()
        if name not in gates.reviewed
    ]


def _overlaps(key: Sequence[str], report: Mapping[str, Any]) -> list[Problem]:
    problems = []
    if rows := report["repeated"]["rows"]:
        months = ", ".join(report["repeated"]["months"])
        problems.append(
            Problem(
                None,
                ", ".join(key),
                f"{rows} rows share this key (data.key) with another one, in {months}; deliver each row once",
            )
        )
    shared = report.get("shared")
    if shared and shared["rows"]:
        problems.append(
            Problem(
                None,
                shared["entity"],
                f"{shared['rows']} of {shared['of']} hold-out rows have one of {shared['entities']} values that training rows "
                f"have too; use split: {{kind: grouped, column: {shared['entity']}}}, or remove gates.entity",
            )
        )
    return problems


def _entity(split: Split, gates: Gates) -> str | None:
    return split.column if isinstance(split, GroupedSplit) else gates.entity


def _column(months: Sequence[str], name: str) -> pl.Series:
    return tables.read_partitions(months, [name])[name]


def _repeated(months: Sequence[str], key: list[str]) -> dict[str, Any]:
    """Return the number of rows whose key another row has too, in any month, and the months of these rows."""
    if not key:
        return {"rows": 0, "months": []}
    by_month = [
        tables.read(paths.accepted(month), key).with_columns(pl.lit(month).alias("__month__")) for month in months
    ]
    rows = pl.concat(by_month)
    rows = rows.filter(pl.struct(key).is_duplicated())
    return {"rows": rows.height, "months": sorted(set(rows["__month__"].to_list()))}


def _shared(entities: pl.Series, parts: pl.Series) -> dict[str, int]:
    """Count the hold-out rows whose entity is in training or validation too; rows without an entity do not count."""
    learned = entities.filter(parts.is_in([TRAINING, VALIDATION])).drop_nulls().unique()
    held = entities.filter(parts == HOLDOUT)
    both = held.filter(held.is_in(learned.implode()).fill_null(False))
    return {"rows": len(both), "of": len(held), "entities": both.n_unique()}
