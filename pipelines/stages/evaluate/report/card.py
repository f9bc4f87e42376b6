"""The model card `reports/model_card.md`: the model for whoever decides whether to use it, from the evidence of the report.

Source: Mitchell et al. 2019, Model Cards for Model Reporting, whose sections it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipelines.params.params import Params
from pipelines.stages.evaluate.gates import gate
from pipelines.stages.evaluate.report import page, sentences
from pipelines.stages.evaluate.report.page import Found
from pipelines.stages.evaluate.report.sentences import figure
from pipelines.statistics.measures import MEASURES

_FEATURES = 10  # of the largest effect; the report has all


def render(params: Params, found: Found) -> str:
    """Return the card as Markdown; the same input gives the same bytes."""
    fewest = params.gates.clusters
    sections = {
        "Intended use": _use(params),
        "The model": _model(params, found),
        "Data": _data(params, found),
        "Metrics": _metrics(params, found),
        "Slices": _slices(found, fewest),
        "Fairness": _fairness(found, fewest),
        "Behaviour": _behaviour(found, fewest),
        "Staleness": _staleness(found),
        "Limits": _limits(found, fewest),
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
            (
                (
                    entry["feature"],
                    figure(entry["mean_absolute"], fewest=params.gates.clusters, part=effects),
                    entry["told"],
                )
                for entry in shown
            ),
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
        f"{sentences.described(params.target, found.approval['outcomes'], params.gates.clusters)}",
    ]


def _metrics(params: Params, found: Found) -> list[str]:
    approval, fewest = found.approval, params.gates.clusters
    checks = (
        (check["name"], check["verdict"], gate.reason(check)[len(check["name"]) + 2 :]) for check in approval["checks"]
    )
    lines = [
        *_table(
            ("figure", "with 95 % bounds"),
            ((each["measure"], figure(each, fewest=fewest)) for each in approval["figures"].values()),
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


def _slices(found: Found, fewest: int) -> list[str]:
    section = found.approval.get("slices")
    if not section or not section["slices"]:
        return ["None are declared (`evaluate.slices`), or all are too small."]
    headline = MEASURES[found.approval["headline"]]
    ranked = page.by_harm(section, higher_is_better=headline.higher_is_better)
    said = [entry["sentence"] for entry in (section["every"], section["some"], section["weak"]) if entry]
    names = ["headline", *(gaps := page.gaps(section))]
    rows = (
        (
            f"{entry['by']} {entry['value']}",
            f"{entry['rows']:,}",
            *(
                figure(entry["figures"].get(name), "{:.3g}", fewest, entry | {"unit": section["unit"]})
                for name in names
            ),
        )
        for entry in ranked
    )
    table = _table(
        ("slice, with 95 % bounds", "rows", headline.title, *(name.replace("_", " ") for name in gaps)), rows
    )
    return [*(line for sentence in said for line in (sentence, "")), *table]


def _fairness(found: Found, fewest: int) -> list[str]:
    sections = found.approval.get("fairness")
    if not sections:
        return ["No column is marked `protected`, so no gaps between groups were measured."]
    return _table(
        ("column", "gap", "between", "with 95 % bounds", "verdict"),
        (
            (
                section["column"],
                page.gap_words(gap),
                " and ".join(gap["between"] or ()),
                figure(gap, fewest=fewest),
                gap["verdict"],
            )
            for section in sections
            for gap in section["gaps"].values()
        ),
    )


def _behaviour(found: Found, fewest: int) -> list[str]:
    entries = found.approval.get("behaviour")
    if not entries:
        return ["No expectations are declared (`evaluate.behaviour`)."]
    return _table(
        ("expectation", "rows", "share that violates it, with 95 % bounds", "verdict"),
        ((entry["name"], f"{entry['rows']:,}", figure(entry, fewest=fewest), entry["verdict"]) for entry in entries),
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
            figure(entry, "{:+.4f}", stale["fewest"], stale),
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


def _limits(found: Found, fewest: int) -> list[str]:
    approval = found.approval
    attack = figure(approval["membership"]["figures"].get("model"), "{:.3f}", fewest)
    said = [
        *approval["weak"],
        *(
            f"Suspected leak: {name}, which predicts far more alone than any other feature."
            for name in approval["suspects"]
        ),
        "The figures are those of the hold-out; for later rows they are a forecast.",
        f"An attacker who guesses from the loss of a row whether it was trained on has ROC-AUC {attack}, with 95 % bounds; "
        "one half is chance.",
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


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
