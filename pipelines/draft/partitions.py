"""What the months of a table ask of its columns: `validate` judges every month by itself, and so does the draft."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from pipelines import tables
from pipelines.draft import times
from pipelines.draft.inference import Guess
from pipelines.draft.outcome import Outcome
from pipelines.params import WHOLE
from pipelines.validate import drift
from pipelines.validate.suite import FRESH

_FALSE_ALARMS = 0.01  # the default of validate.drift
_MEASURED_KINDS = ("number", "boolean", "category")


@dataclass
class Months:
    """Which rows lie in which month; `of_row` is null for a row of none, and `doubts` are about what was left out."""

    names: list[str]
    of_row: pl.Series
    doubts: list[str]


def months_of(table: pl.DataFrame, time: str | None, target: str) -> Months:
    """The months that are there to their end and have labels; where none is, all of them."""
    if time is None:
        return Months([WHOLE], pl.Series("month", [WHOLE] * table.height), [])
    moments = times.moments(table[time])
    rows = pl.DataFrame({"month": moments.dt.strftime("%Y-%m"), "last": moments, "labels": table[target].is_not_null()})
    known = rows.drop_nulls("month").group_by("month").agg(pl.col("last").max(), pl.col("labels").sum()).sort("month")
    whole, doubts = [], []
    for month, last, labels in known.iter_rows():
        if last < tables.month_bounds(month)[1] - FRESH:
            doubts.append(f"{month} is left out, as it ends on {last:%Y-%m-%d}: is the rest still to come?")
        elif not labels:
            doubts.append(f"{month} is left out, as no row has a label: are they still to come?")
        else:
            whole.append(month)
    if not whole:
        whole = known["month"].to_list()
        doubts = ["no month is there to its end with labels, and validate will refuse them: is this the time of a row?"]
    if lost := rows["month"].null_count():
        doubts.append(f"{lost} rows have no time, and collect will refuse them: can the source leave them out?")
    return Months(whole, rows["month"], doubts)


def set_missing(guesses: Sequence[Guess], outcome: Outcome, months: pl.Series) -> None:
    """Allow the largest share of missing values of any month, and half as many again."""
    for entry in guesses:
        if entry.values.null_count():
            share = _largest_share(entry.values.is_null(), months)
            entry.declared |= {"required": False, "missing": _allowance(share)}
            where = "of a month " if months.n_unique() > 1 else ""
            entry.unsure.append(
                f"up to {share:.1%} {where}are missing, half as many again are let through: is that right?"
            )
    if count := outcome.values.null_count():
        outcome.declared["missing"] = _allowance(_largest_share(outcome.values.is_null(), months))
        outcome.unsure.append(
            f"{count} of {len(outcome.values)} rows have no label, and are not learned from: is that right?"
        )


def watch_months(guesses: Sequence[Guess], outcome: Outcome, months: pl.Series) -> tuple[list[str], list[str]]:
    """Mark columns that are constant in some months, or distributed as in no month before, which `validate` would refuse.

    Returns:
        The months in which the outcome is distributed as in no month before, and doubts about them.
    """
    by_month = {
        str(keys[0]): rows for keys, rows in _frame(guesses, outcome, months).group_by("month", maintain_order=True)
    }
    for entry in guesses:
        several = [rows[entry.name].drop_nulls().n_unique() for rows in by_month.values() if entry.name in rows.columns]
        if 1 in several and max(several) > 1:
            entry.declared["may_be_constant"] = True
            entry.unsure.append(
                f"one value only in {several.count(1)} of {len(several)} months: is that so by its meaning?"
            )
    summaries = {
        month: {
            entry.name: drift.summarize(rows[entry.name]) for entry in guesses if entry.kind in _MEASURED_KINDS
        } | {outcome.values.name: drift.summarize(rows[outcome.values.name])}
        for month, rows in sorted(by_month.items())
    }  # fmt: skip
    by_name, reviewed = {entry.name: entry for entry in guesses}, set[str]()
    while alarms := _alarms(summaries, reviewed):
        for month, name in alarms:
            if name in by_name:
                by_name[name].declared["may_drift"] = True
                by_name[name].unsure.append(f"distributed in {month} as in no month before: is that so by its meaning?")
                for found in summaries.values():
                    found.pop(name, None)
            else:
                reviewed.add(month)
    doubts = [f"in {', '.join(sorted(reviewed))} the target is distributed as in no month before: is that real?"]
    return sorted(reviewed), doubts if reviewed else []


def sizes(outcome: Outcome, months: pl.Series) -> dict[str, Any]:
    """Half and double of the rows of a month, and of the share of the positive label."""
    counts = months.value_counts()["count"].to_list()
    bounds: dict[str, Any] = {"rows": [max(1, min(counts) // 2), max(counts) * 2]}
    if outcome.task == "binary":
        is_positive = outcome.values == outcome.declared["labels"][1]
        rates = _shares(is_positive, months)
        bounds["positive_rate"] = [float(f"{min(rates) / 2:.2g}"), min(1.0, float(f"{max(rates) * 2:.2g}"))]
    return bounds


def _frame(guesses: Sequence[Guess], outcome: Outcome, months: pl.Series) -> pl.DataFrame:
    columns = {entry.name: entry.values for entry in guesses if entry.kind in (*_MEASURED_KINDS, "timestamp")}
    return pl.DataFrame([*columns.values(), outcome.values, months.alias("month")])


def _alarms(summaries: dict[str, dict[str, drift.Summary]], reviewed: set[str]) -> list[tuple[str, str]]:
    """Month and column, each column once."""
    found: dict[str, str] = {}
    for month, outcomes in drift.judge(summaries, _FALSE_ALARMS, reviewed).items():
        for outcome in outcomes:
            if not outcome["success"]:
                found.setdefault(outcome["column"], month)
    return [(month, name) for name, month in found.items()]


def _largest_share(is_missing: pl.Series, months: pl.Series) -> float:
    return max(_shares(is_missing, months))


def _shares(flags: pl.Series, months: pl.Series) -> list[float]:
    """Of the known flags that are set, by month."""
    by_month = pl.DataFrame({"flag": flags, "month": months}).group_by("month").agg(pl.col("flag").mean())
    return by_month["flag"].drop_nulls().to_list()


def _allowance(share: float) -> float:
    return min(1.0, round(share * 1.5 + 0.01, 2))
