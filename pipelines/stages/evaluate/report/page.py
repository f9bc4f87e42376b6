"""The page `reports/evaluation.html`: the evaluation for people, one file that loads nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.data import pages
from pipelines.models import tuning
from pipelines.params.params import Params
from pipelines.stages.evaluate.gates import conditions, gate
from pipelines.stages.evaluate.report import lineage, sentences
from pipelines.stages.evaluate.report.pictures import pictures
from pipelines.statistics.measures import MEASURES
from pipelines.statistics.tasks import judgement

Rows = list[dict[str, Any]]
MARKS = {gate.PASSED: "✓", gate.FAILED: "✗", gate.UNDECIDED: "?", gate.NOT_COMPARED: "?"}
_NAMES = {"champion": "live model", "uncalibrated": "uncalibrated", "linear": "linear baseline", "prior": "prior"}
# Sections that an evaluation may lack.
_SECTIONS: dict[str, Any] = {"slices": None, "fairness": [], "behaviour": []}
_MOST_LABELS = 30  # a larger table of confusions is one that nobody reads


@dataclass(frozen=True)
class Found:
    """The findings of an evaluation, for people.

    Attributes:
        slices: slice name -> value -> measures.
        curves: as `curves.curves` has them; `bands` as `curves.bands` does.
        effects: as `effects.effects` has them.
        lineage: as `lineage.lineage` has it.
        changes: of the inputs against the live model; None where nothing is compared.
        training: `models/training.json`.
        staleness: `reports/staleness.json`; None without the file.
    """

    metrics: dict[str, Any]
    approval: dict[str, Any]
    slices: dict[str, dict[str, Any]]
    curves: dict[str, Rows]
    bands: dict[str, Rows]
    effects: dict[str, Any] | None
    lineage: dict[str, Any]
    changes: Sequence[str] | None
    training: dict[str, Any]
    staleness: dict[str, Any] | None = None


def render(params: Params, found: Found) -> str:
    """Return the page; the same input gives the same bytes."""
    metrics, approval = found.metrics, _SECTIONS | found.approval
    models = {"this model": metrics} | {
        _NAMES[name]: metrics["against"][name] for name in _NAMES if name in metrics["against"]
    }
    judged = judgement(params.target)
    breakdown = ({"month": metrics["by_month"]} if "by_month" in metrics else {}) | found.slices
    return pages.render(
        Path(__file__).with_name("page.html.j2"),
        params=params,
        found=found,
        metrics=metrics,
        approval=approval,
        models=models,
        measures={
            key: entry for key, entry in MEASURES.items() if any(key in measured for measured in models.values())
        },
        question=sentences.question(params.target),
        described=sentences.described(params.target, metrics["holdout"]),
        held_out=sentences.held_out(params.split, params.data.months),
        unit=sentences.UNITS[approval["given"]["unit"]],
        title=sentences.TITLES[approval["verdict"]],
        because=sentences.because(approval),
        marks=MARKS,
        reasons=[gate.reason(check) for check in approval["checks"]],
        fewest=params.gates.clusters,
        margins={name: getattr(params.gates, key) for name, key in conditions.MARGINS.items()},
        golden=approval.get("behaviour_golden", []),
        in_the_large=sentences.in_the_large(approval["recalibration"]),
        decisions=sentences.decisions(params, approval),
        compared=gate.summary(approval["checks"], approval["champion"]),
        confusion=confusion(found.curves.get("confusion", []), params.target.labels),
        breakdown=breakdown,
        sliced={key: MEASURES[key].title for key in judged.sliced},
        slices=by_harm(approval.get("slices"), higher_is_better=MEASURES[approval["headline"]].higher_is_better),
        parts=lineage.PARTS,
        effects=effects(found),
        tuned=tuning.shown(found.training.get("tuned", {})),
        pictures=pictures(
            found.curves,
            found.bands,
            approval.get("reliability"),
            found.effects,
            found.staleness,
            params.target.task,
            metrics["holdout"].get("positive_rate"),
            params.target.unit,
        ),
    )


def confusion(pairs: Rows, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return for each actual label the rows by answered one; of many labels, nothing."""
    if not pairs or len(labels) > _MOST_LABELS:
        return []
    counts = Counter((pair["actual"], pair["predicted"]) for pair in pairs)
    rows = []
    for actual in labels:
        of_label = [counts[actual, predicted] for predicted in labels]
        rows.append({"actual": actual, "counts": of_label, "rows": sum(of_label)})
    return rows


def by_harm(section: Mapping[str, Any] | None, *, higher_is_better: bool) -> list[dict[str, Any]]:
    """Return the slices, the most harmed first: shown worse than the live model, then by the difference, then by the headline."""
    if section is None:
        return []

    def harm(entry: Mapping[str, Any]) -> tuple[Any, ...]:
        live, headline = entry["live"], entry["figures"].get("headline")
        figure = 0.0 if headline is None else headline["figure"] * (1 if higher_is_better else -1)
        return (
            live is None or not live["is_worse"],
            live is None,
            live["figure"] if live is not None else 0.0,
            headline is None,
            figure,
        )

    return sorted(section["slices"], key=harm)


def effects(found: Found) -> Rows:
    """Return the features by effect, or by importance where no effect is known: share of the importance, contribution, direction."""
    importance = found.training["importance"]
    if found.effects is None:
        ranked = sorted(importance.items(), key=lambda entry: (-entry[1], entry[0]))
        return [{"feature": name, "importance": share} for name, share in ranked]
    return [
        entry
        | {
            "importance": importance.get(entry["feature"], 0.0),
            "told": direction(entry["direction"]) if entry["mean_absolute"]["figure"] else "none: no tree uses it",
        }
        for entry in found.effects["features"]
    ]


def direction(correlated: Mapping[str, float] | None) -> str:
    """Return the direction of an effect in words."""
    if correlated is None:
        return "depends on category or label"
    told = (
        "higher values raise the score"
        if correlated["lower_bound"] > 0
        else "higher values lower the score"
        if correlated["upper_bound"] < 0
        else "no one direction"
    )
    return f"{told} ({correlated['figure']:+.2f}, {correlated['lower_bound']:+.2f} to {correlated['upper_bound']:+.2f})"
