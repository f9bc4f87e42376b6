"""The months of a table, and the declarations of its columns that follow from them.

`validate` judges every month by itself, so the draft does too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from contract.schema.tasks import TASKS
from pipelines.columns.kinds import KINDS
from pipelines.commands.draft.columns import times
from pipelines.commands.draft.columns.inference import Guess
from pipelines.commands.draft.doubts import Doubt, Weight
from pipelines.commands.draft.rows.outcome import Outcome
from pipelines.data import tables
from pipelines.params.params import FRESHNESS, WHOLE
from pipelines.stages.validate import drift

_FALSE_ALARMS = 0.01  # the default of validate.drift
_USUAL = 0.95  # of the steps between days with rows; longer ones may be holes
_MONTH_DAYS = 28
_THIN = 0.01  # of the rows of a usual month: the edge of a table whose times are converted to UTC, or a month of closed doors
_MANY_ROWS = 0.05  # of all: without so many, the model is a different one


@dataclass
class Months:
    """The months of a table.

    Attributes:
        of_row: month of each row; null for a row without a time.
        doubts: about the months that were left out.
        freshness: longest time from a month's newest row to its end; None if the table has no time.
    """

    names: list[str]
    of_row: pl.Series
    doubts: list[Doubt]
    freshness: str | None = None


def months_of(table: pl.DataFrame, time: str | None, target: str, *, keep_unfinished: bool = False) -> Months:
    """Return the complete months that have labels, or all months if there are none.

    Args:
        keep_unfinished: if true, incomplete months, and those of next to no rows, count as complete.
    """
    if time is None:
        return Months([WHOLE], pl.Series("month", [WHOLE] * table.height), [])
    moments = times.moments(table[time])
    rows = pl.DataFrame({"month": moments.dt.strftime("%Y-%m"), "last": moments, "labels": table[target].is_not_null()})
    known = rows.drop_nulls("month").group_by("month").agg(pl.col("last").max(), pl.col("labels").sum(), rows=pl.len())
    used, doubts, freshness, usual = [], [], freshness_of(moments), int(known["rows"].median() or 0)  # type: ignore[arg-type]
    for month, last, labels, count in known.sort("month").iter_rows():
        share = count / table.height
        if not labels:
            doubts.append(_left_out(f"{month}, since no row has a label: will labels arrive?", share))
        elif last < tables.offset(tables.month_bounds(month)[1], f"-{freshness}") and not keep_unfinished:
            question = f"{month}, since it ends on {last:%Y-%m-%d}. Will no more rows arrive? Then draft again with --unfinished"
            doubts.append(_left_out(question, share))
        elif count < _THIN * usual and not keep_unfinished:
            told = f"{month}, since it has {count:,} where a usual month has {usual:,}"
            question = f"{told}. Is it complete? Then draft again with --unfinished"
            doubts.append(_left_out(question, share))
        else:
            used.append(month)
    if not used:
        used = known["month"].sort().to_list()
        told = "no month is complete and has labels, so validate will refuse all: is this the time of a row?"
        doubts = [Doubt("data.months", told, Weight.FIGURES)]
    doubts += [
        Doubt("data.months", f"{month} has no rows, between months that have some: were they lost?", Weight.VALUES)
        for month in _holes(known["month"].sort().to_list())
    ]
    if lost := rows["month"].null_count():
        told = f"{lost} rows have no time, so collect will refuse the table: can the source omit them?"
        doubts.append(Doubt("data.months", told, Weight.VALUES))
    return Months(used, rows["month"], doubts, freshness)


def freshness_of(moments: pl.Series) -> str:
    """Return the usual time between rows: working days, weeks, or the first of each month."""
    gaps = moments.dt.date().drop_nulls().unique().sort().diff().drop_nulls().dt.total_days()
    usual = int(gaps.quantile(_USUAL, "nearest") or 0) + 1
    if usual >= _MONTH_DAYS:
        return "1mo"
    return f"{max(usual, int(FRESHNESS.removesuffix('d')))}d"


def _left_out(told: str, share: float) -> Doubt:
    weight = Weight.FIGURES if share > _MANY_ROWS else Weight.VALUES
    return Doubt("data.months", f"{share:.1%} of the rows are left out with {told}", weight, strength=share)


def _holes(months: list[str]) -> list[str]:
    """Return the months without a row between the first and the last one."""
    if not months:
        return []
    first, last = (tables.month_bounds(month)[0] for month in (months[0], months[-1]))
    between = pl.datetime_range(first, last, interval="1mo", eager=True).dt.strftime("%Y-%m")
    return [month for month in between.to_list() if month not in months]


def set_missing(guesses: Sequence[Guess], outcome: Outcome, months: pl.Series) -> list[Doubt]:
    """Allow the largest share of missing values of any month, and half as many again."""
    shares = {}
    for entry in guesses:
        if entry.values.null_count():
            shares[entry.name] = _largest_share(entry.values.is_null(), months)
            entry.declared |= {"required": False, "missing": _allowance(shares[entry.name])}
    doubts = []
    if shares:
        where = " of a month" if months.n_unique() > 1 else ""
        told = ", ".join(f"{name} ({share:.1%})" for name, share in shares.items())
        question = f"missing in some rows{where}, and half as many again are allowed: {told}: is that right?"
        doubts.append(Doubt("data.columns", question, Weight.BOUNDS))
    if count := outcome.values.null_count():
        outcome.declared["missing"] = _allowance(_largest_share(outcome.values.is_null(), months))
        question = f"{count} of {len(outcome.values)} rows have no label and are not used for training: is that right?"
        doubts.append(Doubt("target", question, Weight.VALUES))
    return doubts


def watch_months(guesses: Sequence[Guess], outcome: Outcome, months: pl.Series) -> tuple[list[str], list[Doubt]]:
    """Mark columns that are constant in some months, or drift, which `validate` would refuse.

    Returns:
        The months in which the outcome drifts, and doubts about them.
    """
    watched = {entry.name: entry.values for entry in guesses if KINDS[entry.kind].varies}
    watched[outcome.values.name] = outcome.values
    by_month = {
        month: {name: values.filter(months == month) for name, values in watched.items()}
        for month in sorted(months.drop_nulls().unique().to_list())
    }
    doubts = _mark_constant(guesses, by_month)
    measured = {outcome.values.name, *(entry.name for entry in guesses if KINDS[entry.kind].drifts)}
    summaries = {
        month: {name: drift.summarize(values) for name, values in columns.items() if name in measured}
        for month, columns in by_month.items()
    }
    drifting, reviewed = _drifting(summaries, outcome.values.name)
    for entry in guesses:
        if entry.name in drifting:
            entry.declared["may_drift"] = True
    if drifting:
        told = f"drift, a distribution unlike every earlier month's: {_by_name(drifting)}: is that natural?"
        doubts.append(Doubt("data.columns", told, Weight.BOUNDS))
    if reviewed:
        told = f"the target drifts in {', '.join(reviewed)}, with a distribution unlike every earlier month's: is that real?"
        doubts.append(Doubt("validate", told, Weight.VALUES))
    return reviewed, doubts


def _mark_constant(guesses: Sequence[Guess], by_month: Mapping[str, Mapping[str, pl.Series]]) -> list[Doubt]:
    found = {}
    for entry in guesses:
        several = [
            columns[entry.name].drop_nulls().n_unique() for columns in by_month.values() if entry.name in columns
        ]
        if 1 in several and max(several) > 1:
            entry.declared["may_be_constant"] = True
            found[entry.name] = f"{several.count(1)} of {len(several)} months"
    told = f"one value only: {_by_name(found)}: is that natural?"
    return [Doubt("data.columns", told, Weight.BOUNDS)] if found else []


def _drifting(summaries: dict[str, dict[str, drift.Summary]], target: str) -> tuple[dict[str, str], list[str]]:
    """Return the month of drift by column, and the months in which the outcome drifts."""
    drifting, reviewed = dict[str, str](), set[str]()
    while alarms := _alarms(summaries, reviewed):
        for month, name in alarms:
            if name == target:
                reviewed.add(month)
            else:
                drifting[name] = month
                for found in summaries.values():
                    found.pop(name, None)
    return drifting, sorted(reviewed)


def _by_name(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({told})" for name, told in found.items())


def sizes(outcome: Outcome, months: pl.Series) -> dict[str, Any]:
    """Return bounds of the rows of a month and of the share of the positive label: half and double of the observed ones."""
    counts = months.value_counts(name="rows")["rows"].to_list()
    bounds: dict[str, Any] = {"rows": [max(1, min(counts) // 2), max(counts) * 2]}
    if TASKS[outcome.task].has_positive:
        bounds["positive_rate"] = rates(outcome.values == outcome.declared["labels"][1], months)
    return bounds


def rates(is_positive: pl.Series, months: pl.Series) -> list[float]:
    """Return half of the lowest and double of the highest monthly share."""
    shares = _shares(is_positive, months)
    return [float(f"{min(shares) / 2:.2g}"), min(1.0, float(f"{max(shares) * 2:.2g}"))]


def _alarms(summaries: dict[str, dict[str, drift.Summary]], reviewed: set[str]) -> list[tuple[str, str]]:
    """Return the months and columns of drift alarms, each column once."""
    found: dict[str, str] = {}
    for month, outcomes in drift.judge(summaries, _FALSE_ALARMS, reviewed).items():
        for outcome in outcomes:
            if not outcome["success"]:
                found.setdefault(outcome["column"], month)
    return [(month, name) for name, month in found.items()]


def _largest_share(is_missing: pl.Series, months: pl.Series) -> float:
    return max(_shares(is_missing, months))


def _shares(flags: pl.Series, months: pl.Series) -> list[float]:
    """Return the monthly shares of known flags that are set."""
    by_month = pl.DataFrame({"flag": flags, "month": months}).group_by("month").agg(pl.col("flag").mean())
    return by_month["flag"].drop_nulls().to_list()


def _allowance(share: float) -> float:
    return min(1.0, round(share * 1.5 + 0.01, 2))
