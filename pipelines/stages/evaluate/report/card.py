"""The model card `reports/model_card.md`: the model for whoever decides whether to use it, from the evidence of the report.

Source: Mitchell et al. 2019, Model Cards for Model Reporting, whose sections it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipelines.params.params import Params
from pipelines.stages.evaluate.gates import gate
from pipelines.stages.evaluate.report import page, sentences
from pipelines.stages.evaluate.report.page import Found
from pipelines.statistics.measures import MEASURES

_FEATURES = 10  # of the largest effect; the report has all


def render(params: Params, found: Found) -> str:
    """Return the card as Markdown; the same input gives the same bytes."""
    sections = {
        "Intended use": _use(params),
        "The model": _model(params, found),
        "Data": _data(params, found),
        "Metrics": _metrics(params, found),
        "Slices": _slices(found),
        "Fairness": _fairness(found),
        "Behaviour": _behaviour(found),
        "Staleness": _staleness(found),
        "Limits": _limits(found),
        "Compute it again": _again(found),
    }
    lines = [f"# Model card: {params.name}", "", f"**{sentences.TITLES[found.approval['verdict']]}.** "
             f"{_sentence(sentences.because(found.approval))}"]  # fmt: skip
    for title, body in sections.items():
        lines += ["", f"## {title}", "", *body]
    return "\n".join(lines) + "\n"


def _use(params: Params) -> list[str]:
    time = params.data.time
    when = f" when a request is made (“{time}”)" if time else ""
    fields = sorted(name for name, column in params.data.columns.items() if column.known == "before")
    return [
        f"The model answers {sentences.question(params.target)}",
        "",
        "It is meant for rows like those of the table in `params.yaml`, one at a time or in batches, from what is known"
        f"{when}: {', '.join(fields)}. A request that breaks the schema is refused. It is not meant for another table, "
        "nor to explain what causes an outcome.",
    ]


def _model(params: Params, found: Found) -> list[str]:
    training = found.training
    rounds = f", {training['rounds']} rounds" if "rounds" in training else ""
    calibration = f", calibrated ({training['calibration']['method']})" if "calibration" in training else ""
    lines = [
        f"Family `{params.train.family}`{rounds}{calibration}, trained on {training['rows']:,} rows, seed {params.train.seed}; "
        f"{len(training['importance'])} features. It is served as ONNX, whose scores are the ones judged here.",
        "",
    ]
    if found.effects is None:
        return [*lines, "Contributions of features to single scores are not known of this family."]
    shown = page.effects(found)[:_FEATURES]
    effects = found.effects
    return [
        *lines,
        f"Features with the largest effect, on {effects['rows']:,} rows of the hold-out (mean absolute contribution in {effects['scale']}; "
        "direction as a rank correlation; both with 95 % bounds):",
        "",
        *_table(
            ("feature", "contribution", "direction"),
            ((entry["feature"], _bounded(entry["mean_absolute"]), entry["told"]) for entry in shown),
        ),
    ]


def _data(params: Params, found: Found) -> list[str]:
    lineage = found.lineage
    rows = (
        (month, *(_count(entry[name]) for name in ("delivered", "split_off", "rows", "unlabelled")), f"`{entry['sha256'] or 'unknown'}`")
        for month, entry in lineage["months"].items()
    )  # fmt: skip
    held = sentences.held_out(params.split, params.data.months)
    dates = f", {lineage['dates'][0]} to {lineage['dates'][1]}" if lineage["dates"] else ""
    return [
        f"Version {_cell(lineage['version'])}, {len(lineage['months'])} partitions. Split off are rows that failed a check.",
        "",
        *_table(("partition", "delivered", "split off", "accepted", "without an outcome", "SHA-256"), rows),
        "",
        f"The hold-out is {held}{dates}: {found.metrics['holdout']['rows']:,} rows with an outcome. "
        f"{sentences.described(params.target, found.metrics['holdout'])}",
    ]


def _metrics(params: Params, found: Found) -> list[str]:
    approval, fewest = found.approval, params.gates.clusters
    checks = (
        (check["name"], check["verdict"], gate.reason(check)[len(check["name"]) + 2 :]) for check in approval["checks"]
    )
    lines = [
        *_table(
            ("figure", "measured, with 95 % bounds"),
            ((figure["measure"], _bounded(figure, fewest)) for figure in approval["figures"].values()),
        ),
        "",
        f"Bounds come from {params.evaluate.bootstrap:,} resamplings of {approval['given']['unit']}. The checks:",
        "",
        *_table(("check", "verdict", "evidence"), checks),
    ]
    told = [
        text
        for text in (sentences.in_the_large(approval["recalibration"]), sentences.decisions(params, approval))
        if text
    ]
    return [*lines, *(line for text in told for line in ("", text))]


def _slices(found: Found) -> list[str]:
    section = found.approval.get("slices")
    if not section or not section["slices"]:
        return ["None were judged with bounds; `reports/slices.json` has the measures as they are."]
    headline = MEASURES[found.approval["headline"]]
    ranked = page.by_harm(section, higher_is_better=headline.higher_is_better)
    said = [entry["sentence"] for entry in (section["every"], section["some"], section["weak"]) if entry]
    names = ("headline", "calibration_gap")
    rows = (
        (
            f"{entry['by']} {entry['value']}",
            f"{entry['rows']:,}",
            *(_bounded(entry["figures"].get(name)) for name in names),
        )
        for entry in ranked
    )
    table = _table(("slice", "rows", headline.title, "calibration gap"), rows)
    return [*(line for sentence in said for line in (sentence, "")), *table]


def _fairness(found: Found) -> list[str]:
    sections = found.approval.get("fairness")
    if not sections:
        return ["No column is marked `protected`, so no gaps between groups were measured."]
    return _table(
        ("column", "gap", "between", "measured, with 95 % bounds", "verdict"),
        (
            (section["column"], gap["measure"], " and ".join(gap["between"] or ()), _bounded(gap), gap["verdict"])
            for section in sections
            for gap in section["gaps"].values()
        ),
    )


def _behaviour(found: Found) -> list[str]:
    entries = found.approval.get("behaviour")
    if not entries:
        return ["No expectations are declared (`evaluate.behaviour`)."]
    return _table(
        ("expectation", "rows", "share that violates it, with 95 % bounds", "verdict"),
        ((entry["name"], f"{entry['rows']:,}", _bounded(entry), entry["verdict"]) for entry in entries),
    )


def _staleness(found: Found) -> list[str]:
    stale = found.staleness
    if stale is None or not stale["sentence"]:
        return [f"Not measured: {_cell(stale['because']) if stale else 'evaluate ran alone'}."]
    share = "" if stale["by_auc"] else ", as a share of it"
    rows = (
        (
            str(entry["age_months"]),
            ", ".join(entry["months"]),
            f"{entry['rows']:,}",
            _bounded(entry | {"unit": stale["unit"]}, stale["fewest"]),
            entry["verdict"],
        )
        for entry in stale["ages"]
    )
    return [
        stale["sentence"],
        "",
        f"{stale['rule']} {stale['held_fixed']}",
        "",
        *_table(
            (
                "age in months",
                "judged on",
                "rows",
                f"difference in {stale['compared']}{share}, with 95 % bounds",
                "verdict",
            ),
            rows,
        ),
    ]


def _limits(found: Found) -> list[str]:
    approval = found.approval
    attack = found.metrics["membership_inference"]["roc_auc"]
    said = [
        *approval["weak"],
        *(f"Suspected leak: {name}, {evidence}." for name, evidence in approval["suspects"].items()),
        "The figures are those of the hold-out; for later rows they are a forecast.",
        f"An attacker who guesses from the loss of a row whether it was trained on has ROC-AUC {attack:.3f} (0.5 is chance; as "
        "measured, without bounds).",
    ]
    return [f"- {_cell(line)}" for line in said]


def _again(found: Found) -> list[str]:
    return [
        f"The SHA-256 of `model.onnx` is `{found.lineage['model']['model.onnx']}`; the `manifest.json` of the bundle, which is built "
        "later, lists it.",
        "",
        "`python -m pipelines gates --recompute DIGEST` decides the checks of a published bundle again from the stored predictions; "
        "`python -m pipelines reproduce DIGEST` builds the bundle again.",
    ]  # fmt: skip


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_row(head), f"|{'---|' * len(head)}", *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    """Return a text that cannot end its cell or line, nor be markup: labels and values are those of the data."""
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def _bounded(found: Mapping[str, Any] | None, fewest: int = 0) -> str:
    if found is None or found["figure"] is None:
        return "too small"
    return f"{found['figure']:.4g} ({sentences.bounds(found, fewest)})"


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
