"""The page `reports/evaluation.html`: the evaluation for people, one file that loads nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contract.schema.tasks import TASKS
from pipelines.data import pages
from pipelines.models import tuning
from pipelines.params.judging.split import GroupedSplit, PredefinedSplit, Split, TemporalSplit
from pipelines.params.params import Params, TargetParams
from pipelines.stages.evaluate.gates import conditions, gate
from pipelines.stages.evaluate.report.pictures import pictures
from pipelines.statistics.measures import MEASURES
from pipelines.statistics.tasks import judgement

_UNITS = {
    "days": "whole days, paired: rows of one day are not independent",
    "entities": "whole entities, paired: rows of one entity are not independent",
    "rows": "rows, paired",
}
_TITLES = {"approved": "Approved", "held": "Held until a person decides", "rejected": "Rejected"}
_MARKS = {gate.PASSED: "✓", gate.FAILED: "✗", gate.UNDECIDED: "?", gate.NOT_COMPARED: "?"}
_NAMES = {"champion": "live model", "uncalibrated": "uncalibrated", "linear": "linear baseline", "prior": "prior"}


def render(
    params: Params,
    metrics: dict[str, Any],
    approval: dict[str, Any],
    slices: dict[str, dict[str, Any]],
    curves: dict[str, list[dict[str, Any]]],
    counts: dict[str, dict[str, int]],
    training: dict[str, Any],
) -> str:
    """Return the page; the same input gives the same bytes."""
    models = {"this model": metrics} | {
        _NAMES[name]: metrics["against"][name] for name in _NAMES if name in metrics["against"]
    }
    judged = judgement(params.target)
    breakdown = ({"month": metrics["by_month"]} if "by_month" in metrics else {}) | slices
    return pages.render(
        Path(__file__).with_name("page.html.j2"),
        params=params,
        metrics=metrics,
        models=models,
        measures={key: entry for key, entry in MEASURES.items() if any(key in found for found in models.values())},
        question=_question(params.target),
        described=_described(params.target, metrics["holdout"]),
        held_out=held_out(params.split, params.data.months),
        unit=_UNITS[approval["given"]["unit"]],
        approval=approval,
        reasons=[(_MARKS[check["verdict"]], gate.reason(check)) for check in approval["checks"]],
        title=_TITLES[approval["verdict"]],
        figures=approval["figures"],
        is_few=next(iter(approval["figures"].values()))["clusters"] < params.gates.clusters,
        margins={name: getattr(params.gates, key) for name, key in conditions.MARGINS.items()},
        recalibration=_recalibration(approval["recalibration"]),
        decisions=_decisions(params, approval),
        compared=gate.summary(approval["checks"], approval["champion"]),
        slices=breakdown,
        sliced={key: MEASURES[key].title for key in judged.sliced},
        counts=counts,
        training=training,
        tuned=tuning.shown(training.get("tuned", {})),
        pictures=pictures(
            curves, params.target.task, metrics["holdout"].get("positive_rate"), params.train.importance_of
        ),
    )


def _question(target: TargetParams) -> str:
    task = TASKS[target.task]
    if task.has_positive:
        return f"will “{target.column}” be “{target.labels[1]}”?"
    if task.has_many_labels:
        return f"which “{target.column}” is it: {', '.join(target.labels)}?"
    unit = f" ({target.unit})" if target.unit else ""
    if task.has_quantiles:
        return f"which numbers does “{target.column}”{unit} stay below in {', '.join(map(_percent, target.quantiles))} of cases?"
    return f"how much is “{target.column}”{unit}?"


def _described(target: TargetParams, holdout: dict[str, Any]) -> str:
    task = TASKS[target.task]
    if task.has_positive:
        return f"{holdout['positive_rate']:.1%} of them are “{target.labels[1]}”."
    if task.has_many_labels:
        shares = (f"“{label}” {share:.1%}" for label, share in holdout["shares"].items())
        return f"Their labels: {', '.join(shares)}."
    return f"Their mean is {holdout['mean']:,.6g}{f' {target.unit}' if target.unit else ''}."


def _recalibration(found: dict[str, dict[str, Any]] | None) -> str:
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
        f"Calibration in the large: {told} (log-odds {large:+.3f}, 95 % interval {lowest:+.3f} to {highest:+.3f}; 0 is right). "
        f"Slope: scores are {bent} ({slope:.3f}, {low:.3f} to {high:.3f}; 1 is right)."
    )


def _decisions(params: Params, approval: dict[str, Any]) -> str:
    """Return a sentence on the cost of decisions, and on the threshold that should cost least."""
    if params.evaluate.decisions is None:
        return ""
    served, best = (approval["figures"][name]["figure"] for name in ("cost", "best_cost"))
    saved = f"{abs(served - best):,.4g}{f' {params.evaluate.decisions.currency}' if params.evaluate.decisions.currency else ''}"
    change = (
        f"{saved} {'less' if best < served else 'more'} for a thousand decisions on this hold-out"
        if best != served
        else "the same"
    )
    if approval["best_threshold"] is None:
        return f"Answering the label with the smallest expected cost instead of the most probable one costs {change}."
    return (
        f"By evaluate.decisions the threshold with the smallest expected cost is {approval['best_threshold']:.4g}; target.threshold is "
        f"{params.target.threshold:g}. With the former the cost is {change}."
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
