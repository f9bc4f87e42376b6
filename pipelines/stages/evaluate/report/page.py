"""The page `reports/evaluation.html`: the evaluation for people, one file that loads nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup

from contract.schema.tasks import TASKS
from pipelines.data import pages
from pipelines.models import tuning
from pipelines.params.params import Params
from pipelines.stages.evaluate.gates import conditions, gate
from pipelines.stages.evaluate.report import lineage, sentences
from pipelines.stages.evaluate.report.pictures import pictures
from pipelines.stages.evaluate.slices.parts import GAP
from pipelines.statistics.measures import MEASURES

Rows = list[dict[str, Any]]
MARKS = {gate.PASSED: "✓", gate.FAILED: "✗", gate.UNDECIDED: "?", gate.NOT_COMPARED: "?"}
_NAMES = {"champion": "live model", "uncalibrated": "uncalibrated", "linear": "linear baseline", "prior": "prior"}
# Sections that an evaluation may lack.
_SECTIONS: dict[str, Any] = {"slices": None, "fairness": [], "behaviour": []}


@dataclass(frozen=True)
class Found:
    """The findings of an evaluation, for people.

    Attributes:
        curves: as `curves.curves` has them; `bands` as `curves.bands` does.
        effects: as `effects.effects` has them.
        lineage: as `lineage.lineage` has it.
        changes: of the inputs against the live model; None where nothing is compared.
        training: `models/training.json`.
        staleness: `reports/staleness.json`; None without the file.
    """

    metrics: dict[str, Any]
    approval: dict[str, Any]
    curves: dict[str, Rows]
    bands: dict[str, Rows]
    effects: dict[str, Any] | None
    lineage: dict[str, Any]
    changes: Sequence[str] | None
    training: dict[str, Any]
    staleness: dict[str, Any] | None = None


def render(params: Params, found: Found) -> str:
    """Return the page; the same input gives the same bytes."""
    approval, fewest = _SECTIONS | found.approval, params.gates.clusters
    models = {"this model": approval["figures"]} | {
        _NAMES[name]: figures for name, figures in approval["baselines"].items()
    }
    return pages.render(
        Path(__file__).with_name("page.html.j2"),
        params=params,
        found=found,
        approval=approval,
        figure=partial(_figure, fewest=fewest, unit=approval["given"]["unit"]),
        models=models,
        figures=_rows(models.values()),
        headline=MEASURES[approval["headline"]].title,
        clusters=next(iter(approval["outcomes"].values()))["clusters"],
        is_of_many_labels=TASKS[params.target.task].has_many_labels,
        question=sentences.question(params.target),
        described=sentences.described(params.target, approval["outcomes"], fewest),
        held_out=sentences.held_out(params.split, params.data.months),
        unit=sentences.UNITS[approval["given"]["unit"]],
        title=sentences.TITLES[approval["verdict"]],
        because=sentences.because(approval),
        marks=MARKS,
        reasons=[gate.reason(check) for check in approval["checks"]],
        fewest=fewest,
        margins={name: getattr(params.gates, key) for name, key in conditions.MARGINS.items()},
        golden=approval.get("behaviour_golden", []),
        units=_units(params, approval),
        in_the_large=sentences.in_the_large(approval["recalibration"]),
        decisions=sentences.decisions(params, approval),
        compared=gate.summary(approval["checks"], approval["champion"]),
        slices=by_harm(approval.get("slices"), higher_is_better=MEASURES[approval["headline"]].higher_is_better),
        gaps=gaps(approval.get("slices")),
        gap_words=gap_words,
        measures=_measures,
        parts=lineage.PARTS,
        effects=effects(found),
        tuned=tuning.shown(found.training.get("tuned", {})),
        pictures=pictures(
            found.curves,
            found.bands,
            approval["reliability"],
            found.effects,
            found.staleness,
            params.target.task,
            approval["outcomes"],
            params.target.unit,
        ),
    )


def _units(params: Params, approval: Mapping[str, Any]) -> dict[str, str]:
    """Return by section a sentence on the units of the columns that it names; empty where none has one."""
    slices = approval["slices"] or {"slices": [], "weak": None}
    weak = slices["weak"]["found"] if slices["weak"] else []
    named = {
        "slices": [*(each["by"] for each in slices["slices"]), *(each["value"] for each in weak)],
        "behaviour": [each["name"] for each in approval["behaviour"]],
    }
    return {name: sentences.units(params.data.columns, texts) for name, texts in named.items()}


def _figure(
    found: Mapping[str, Any] | None, form: str, part: Mapping[str, Any] | None = None, *, fewest: int, unit: str
) -> Markup:
    value, said = sentences.figure_parts(found, form, fewest, {"unit": unit, **(part or {})})
    return Markup('{} <span class="quiet">({})</span>').format(value, said) if said else Markup.escape(value)


def _rows(models: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return title and reading of each figure that a model has, but for costs: the measures first, in their order."""
    found = {name: each["measure"] for figures in models for name, each in figures.items()}
    measures = {
        name: {"title": entry.title, "reading": entry.reading} for name, entry in MEASURES.items() if name in found
    }
    others = {name: {"title": words, "reading": ""} for name, words in found.items() if name not in conditions.COSTS}
    return measures | {name: entry for name, entry in others.items() if name not in measures}


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


def gaps(section: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the words for each calibration gap of slices, by name: one, or of quantiles one for each."""
    found = _measures((section or {"slices": []})["slices"])
    return {name: words for name, words in found.items() if name.startswith(GAP)}


def gap_words(gap: Mapping[str, Any]) -> str:
    """Return the words for a gap without its two groups, which stand beside it."""
    between = f", {' and '.join(map(str, gap['between'] or ()))}"
    return str(gap["measure"]).removesuffix(between)


def _measures(parts: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the words for each figure of slices or groups, by name."""
    figures = (item for part in parts for item in part["figures"].items())
    return {name: found["measure"] for name, found in figures if found is not None}


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
    return f"{told}: {sentences.figure(correlated, '{:+.2f}')}"
