"""Sentences of report and model card, made from the evidence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from contract.schema.tasks import TASKS
from pipelines.params.column import Column
from pipelines.params.judging.split import GroupedSplit, PredefinedSplit, Split, TemporalSplit
from pipelines.params.params import Params, TargetParams
from pipelines.stages.evaluate.gates import gate

TITLES = {"approved": "Approved", "held": "Held until a person decides", "rejected": "Rejected"}
TOO_SMALL = "too small"
SHARE = "{:.1%}"
_RARE, _RAREST = 0.01, 0.0001
UNITS = {
    "days": "whole days, paired, since rows of one day are not independent",
    "entities": "whole entities, paired, since rows of one entity are not independent",
    "rows": "rows, paired",
}


def because(approval: Mapping[str, Any]) -> str:
    """Return the reason of the verdict, in one sentence."""
    checks = approval["checks"]
    for found, told in (
        (gate.FAILED, "failed"),
        (gate.UNDECIDED, "did not decide"),
        (gate.NOT_COMPARED, "could not be made"),
    ):
        named = [check for check in checks if check["verdict"] == found and not check.get("accepted")]
        if named and not (approval["approved"] and found != gate.FAILED):
            others = f" ({len(named)} of {len(checks)} checks {told})" if len(named) > 1 else ""
            return f"{_short(named[0], told)}{others}."
    main = approval["figures"][approval["headline"]]
    passed = sum(check["verdict"] == gate.PASSED for check in checks)
    told = (
        f"all {len(checks)} checks passed"
        if passed == len(checks)
        else f"{passed} of {len(checks)} checks passed, and the others were accepted"
    )
    fewest = approval["given"]["gates"]["clusters"]
    headline = figure(main, "{:,.4f}", fewest)
    return f"{told}; with 95 % bounds {main['measure']} is {headline}."


def _short(check: Mapping[str, Any], told: str) -> str:
    if check["verdict"] == gate.NOT_COMPARED:
        return f"“{check['name']}” could not be checked: {'; '.join(check['because'])}"
    if check["figure"] is None:
        because = check.get("because", "no row of the hold-out could be tried")
        return f"“{check['name']}” {told}: {because}; required is {check['asks']}"
    found = f"with 95 % bounds {check['measure']} {figure(check, fewest=check['fewest'])}"
    return f"“{check['name']}” {told}: {found}; required is {check['asks']}"


def figure(
    found: Mapping[str, Any] | None, form: str = "{:.4g}", fewest: int = 0, part: Mapping[str, Any] | None = None
) -> str:
    """Return a figure with its bounds, or the words that there is too little for them: the one way to show a figure to people.

    Args:
        fewest: clusters that bounds need.
        part: what has `clusters` and `unit` where the figure itself has none.
    """
    value, said = figure_parts(found, form, fewest, part)
    return f"{value} ({said})" if said else value


def figure_parts(
    found: Mapping[str, Any] | None, form: str, fewest: int, part: Mapping[str, Any] | None = None
) -> tuple[str, str]:
    """Return a figure, and its bounds or the words in their place; of rows that are too few, the words alone."""
    if found is None or found["figure"] is None:
        return TOO_SMALL, ""
    on = {**(part or {}), **found}
    if on.get("clusters", fewest) < fewest:
        return _said(found["figure"], form), f"too few {on['unit']}: {on['clusters']}"
    return _said(found["figure"], form), f"{_said(found['lower_bound'], form)} to {_said(found['upper_bound'], form)}"


def _said(value: float, form: str) -> str:
    """Return a number in a form; a share below one percent has two digits, for three in a thousand and two are not the same."""
    if form != SHARE or value == 0 or value >= _RARE:
        return form.format(value)
    return f"{100 * value:.2g}%" if value >= _RAREST else f"< {_RAREST:.2%}"


def question(target: TargetParams) -> str:
    """Return the question that the model answers."""
    task = TASKS[target.task]
    if task.has_positive:
        return f"will “{target.column}” be “{target.labels[1]}”?"
    if task.has_many_labels:
        return f"which “{target.column}” is it: {', '.join(target.labels)}?"
    unit = f" ({target.unit})" if target.unit else ""
    if task.has_quantiles:
        return f"which numbers does “{target.column}”{unit} stay below in {', '.join(map(_percent, target.quantiles))} of cases?"
    return f"how much is “{target.column}”{unit}?"


def described(target: TargetParams, outcomes: Mapping[str, Any], fewest: int) -> str:
    """Return a sentence on the outcomes of the hold-out.

    Args:
        outcomes: those of `gates.json`.
    """
    if target.labels:
        shares = (f"{found['measure']} {figure(found, SHARE, fewest)}" for found in outcomes.values())
        return f"Of the outcomes: {', '.join(shares)}."
    unit = f" {target.unit}" if target.unit else ""
    return f"The mean outcome is {figure(outcomes['mean'], '{:,.6g}', fewest)}{unit}."


def units(columns: Mapping[str, Column], texts: Iterable[str]) -> str:
    """Return a sentence on the units of the columns that these texts name, such as *Units: wind_speed in mph.*; empty without any."""
    words = set(re.findall(r"\w+", " ".join(texts)))
    found = [f"{name} in {column.unit}" for name, column in columns.items() if name in words and column.unit]
    return f"Units: {', '.join(found)}." if found else ""


def in_the_large(found: dict[str, dict[str, Any]] | None) -> str:
    """Return a sentence on calibration in the large and in the slope."""
    if found is None:
        return ""
    (large, (lowest, highest)), (slope, (low, high)) = (
        (found[name]["figure"], found[name]["interval"]) for name in ("in_the_large", "slope")
    )
    many = "more" if lowest > 0 else "less" if highest < 0 else None
    told = (
        f"outcomes are {many} frequent than predicted"
        if many
        else "outcomes are as frequent as predicted, as far as these rows tell"
    )
    bent = (
        "too extreme"
        if high < 1
        else "not extreme enough"
        if low > 1
        else "neither too extreme nor too timid, as far as these rows tell"
    )
    return (
        f"Calibration in the large: {told}: log-odds {large:+.3f} ({lowest:+.3f} to {highest:+.3f}, 95 % interval); 0 is right. "
        f"Slope: scores are {bent}: {slope:.3f} ({low:.3f} to {high:.3f}); 1 is right."
    )


def decisions(params: Params, approval: Mapping[str, Any]) -> str:
    """Return a sentence on the threshold that should cost least, and on what it saves."""
    if params.evaluate.decisions is None:
        return ""
    fewest, currency = params.gates.clusters, params.evaluate.decisions.currency
    saves = f"saves {figure(approval['figures']['saved'], '{:,.4g}', fewest)}{f' {currency}' if currency else ''} for a thousand decisions"
    if approval["best_threshold"] is None:
        return f"Answering the label with the smallest expected cost instead of the most probable one {saves}."
    return (
        f"By evaluate.decisions the threshold with the smallest expected cost is {approval['best_threshold']:.4g}; target.threshold is "
        f"{params.target.threshold:g}. The former {saves}."
    )


def _percent(level: float) -> str:
    return f"{100 * level:g} %"


def held_out(split: Split, months: Sequence[str]) -> str:
    """Return a description of the hold-out, such as *the last month of 2013-01 to 2013-12*."""
    if isinstance(split, TemporalSplit):
        span = months[0] if len(months) == 1 else f"{months[0]} to {months[-1]}"
        return f"the last {_period(split.holdout)} of {span}"
    if isinstance(split, PredefinedSplit):
        if split.column is None:
            return f"all but the first {split.first:,}"
        return f"those where “{split.column}” is {' or '.join(map(_quoted, split.holdout))}"
    if isinstance(split, GroupedSplit):
        return f"{split.holdout:.0%} at random, with all rows of one “{split.column}” on the same side"
    return f"{split.holdout:.0%} at random"


def _period(text: str) -> str:
    """Return a period such as `1mo` or `14d` as *month* or *14 days*."""
    name = "month" if text.endswith("mo") else "day"
    count = int(text.removesuffix("mo").removesuffix("d"))
    return name if count == 1 else f"{count} {name}s"


def _quoted(text: str) -> str:
    return f"“{text}”"
