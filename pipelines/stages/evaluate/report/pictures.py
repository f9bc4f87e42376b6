"""The report's pictures, as SVG in the colours of the page, light or dark; the same numbers give the same bytes."""

from __future__ import annotations

import io
from html import escape
from typing import Any

from contract.schema.tasks import TASKS

Rows = list[dict[str, Any]]
_MOST_BARS = 15
# Each is drawn in a colour of its own, in whose place the page's variable is written.
_MODEL, _CHANCE, _INK = "#2456a6", "#9aa3ad", "#1c2733"
_VARIABLES = {_MODEL: "var(--accent)", _CHANCE: "var(--chance)", _INK: "currentColor"}
_STYLE = {
    "svg.hashsalt": "bulkhead",  # without a salt the ids of SVG elements are random
    "svg.fonttype": "none",  # text as text: it takes the page's colour, and can be searched and read aloud
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
}


def pictures(
    curves: dict[str, Rows],
    bands: dict[str, Rows],
    reliability: dict[str, Any] | None,
    effects: dict[str, Any] | None,
    staleness: dict[str, Any] | None,
    task: str,
    positive_rate: float | None,
    unit: str | None,
) -> dict[str, str]:
    """Return the curves of `curves.curves` for the task as SVG elements, by caption.

    Args:
        bands: bounds of `roc` and `pr`, as `curves.bands` has them.
        reliability: bins with bounds; None: the calibration is drawn without.
        effects: as `effects.effects` has them.
        staleness: `reports/staleness.json`; None, or without ages: not drawn.
        unit: of the target, for the axes of numbers.
    """
    import matplotlib

    matplotlib.use("svg")
    with matplotlib.rc_context(_STYLE):
        drawn = _of_numbers(curves, TASKS[task].form, unit) if TASKS[task].is_number else _of_labels(
            curves, bands, reliability, task, positive_rate
        )  # fmt: skip
        if effects is not None:
            drawn["Effect of features"] = _effects(effects["features"][:_MOST_BARS], effects["scale"])
        if staleness is not None and staleness["ages"]:
            drawn["Staleness: difference from the freshest model, by age; dashed the margin"] = _staleness(staleness)
        return {caption: _titled(picture, caption) for caption, picture in drawn.items()}


def _of_numbers(curves: dict[str, Rows], form: str, unit: str | None) -> dict[str, str]:
    measured = f" [{unit}]" if unit else ""
    predicted, caption, axes = {
        "value": (
            "Predicted",
            "Calibration, ten bins of equal count",
            (f"mean predicted{measured}", f"mean actual{measured}"),
        ),
        "quantiles": (
            "Middle quantile",
            "Calibration of the quantiles",
            ("level of the quantile", "share of outcomes up to it"),
        ),
    }[form]
    return {
        f"{predicted} and actual": _scatter(curves["predicted"], measured),
        "Residuals: actual less predicted": _histogram(curves["residuals"], measured),
        caption: _calibration(curves["calibration"], *axes),
    }


def _of_labels(
    curves: dict[str, Rows],
    bands: dict[str, Rows],
    reliability: dict[str, Any] | None,
    task: str,
    positive_rate: float | None,
) -> dict[str, str]:
    axes = {
        "probability": ("mean predicted probability", "share of positives"),
        "probabilities": ("mean probability of the answered label", "share of right answers"),
    }[TASKS[task].form]
    base = [] if positive_rate is None else [(0.0, positive_rate), (1.0, positive_rate)]
    roc = "ROC curve, every label against the rest" if TASKS[task].has_many_labels else "ROC curve"
    return {
        roc: _line(
            curves["roc"], bands["roc"], ("fpr", "tpr"), ("false positive rate", "true positive rate"), [(0, 0), (1, 1)]
        ),
        "Precision and recall": _line(
            curves["pr"], bands["pr"], ("recall", "precision"), ("recall", "precision"), base
        ),
    } | (
        {"Calibration, ten bins of equal count": _calibration(curves["calibration"], *axes)}
        if reliability is None
        else {"Reliability": _reliability(reliability["bins"], *axes)}
    )


def _line(
    rows: Rows, band: Rows, names: tuple[str, str], labels: tuple[str, str], chance: list[tuple[float, float]]
) -> str:
    figure, axes = _figure()
    if chance:
        axes.plot(*zip(*chance, strict=True), color=_CHANCE, linestyle="--", linewidth=1)
    x, y = ([row[name] for row in rows] for name in names)
    axes.fill_between(*_bounds(band, names[0]), color=_MODEL, alpha=0.2, linewidth=0)
    axes.plot(x, y, color=_MODEL)
    axes.set(xlabel=labels[0], ylabel=labels[1], xlim=(0, 1), ylim=(0, 1.01))
    return _svg(figure)


def _bounds(rows: Rows, at: str) -> tuple[list[float], ...]:
    return tuple([row[name] for row in rows] for name in (at, "lower_bound", "upper_bound"))


def _reliability(bins: Rows, x_label: str, y_label: str) -> str:
    figure, axes = _figure()
    at, low, high = _bounds(bins, "predicted")
    limit = 1.05 * max([*at, *high])
    axes.plot([0, limit], [0, limit], color=_CHANCE, linestyle="--", linewidth=1)
    axes.fill_between(at, low, high, color=_MODEL, alpha=0.2, linewidth=0)
    axes.plot(at, [row["observed"] for row in bins], color=_MODEL, marker="o", markersize=4)
    axes.set(xlabel=x_label, ylabel=y_label, xlim=(0, limit), ylim=(0, limit))
    return _svg(figure)


def _calibration(rows: Rows, x_label: str, y_label: str) -> str:
    figure, axes = _figure()
    values = [row[key] for row in rows for key in ("score", "rate")]
    low, high = min(0.0, 1.05 * min(values)), 1.05 * max(values)
    axes.plot([low, high], [low, high], color=_CHANCE, linestyle="--", linewidth=1)
    axes.plot([row["score"] for row in rows], [row["rate"] for row in rows], color=_MODEL, marker="o", markersize=4)
    axes.set(xlabel=x_label, ylabel=y_label, xlim=(low, high), ylim=(low, high))
    return _svg(figure)


def _scatter(rows: Rows, unit: str) -> str:
    figure, axes = _figure()
    actual = [row["actual"] for row in rows]
    axes.plot([actual[0], actual[-1]], [actual[0], actual[-1]], color=_CHANCE, linestyle="--", linewidth=1)
    axes.plot(
        actual, [row["predicted"] for row in rows], color=_MODEL, marker="o", markersize=3, linestyle="", alpha=0.5
    )
    axes.set(xlabel=f"actual{unit}", ylabel=f"predicted{unit}")
    return _svg(figure)


def _histogram(rows: Rows, unit: str) -> str:
    figure, axes = _figure()
    middles = [row["residual"] for row in rows]
    axes.bar(middles, [row["rows"] for row in rows], width=middles[1] - middles[0], color=_MODEL)
    axes.set(xlabel=f"actual less predicted{unit}", ylabel="rows")
    return _svg(figure)


def _effects(features: Rows, scale: str) -> str:
    figure, axes = _figure()
    shown = features[::-1]
    figures = [row["mean_absolute"]["figure"] for row in shown]
    # A percentile of the resamplings may lie on the figure's other side.
    errors = [
        [max(0.0, figure - row["mean_absolute"]["lower_bound"]) for figure, row in zip(figures, shown, strict=True)],
        [max(0.0, row["mean_absolute"]["upper_bound"] - figure) for figure, row in zip(figures, shown, strict=True)],
    ]
    axes.barh(
        [row["feature"] for row in shown], figures, xerr=errors, color=_MODEL, ecolor=_INK, error_kw={"elinewidth": 0.8}
    )
    axes.set(xlabel=f"mean absolute contribution [{scale}]")
    return _svg(figure)


def _staleness(found: dict[str, Any]) -> str:
    figure, axes = _figure()
    # Of age 1 is the freshest model itself.
    rows = [{"age_months": 1, "figure": 0.0, "lower_bound": 0.0, "upper_bound": 0.0}, *found["ages"]]
    at = [row["age_months"] for row in rows]
    axes.axhline(-found["margin"], color=_CHANCE, linestyle="--", linewidth=1)
    axes.fill_between(*_bounds(rows, "age_months"), color=_MODEL, alpha=0.2, linewidth=0)
    axes.plot(at, [row["figure"] for row in rows], color=_MODEL, marker="o", markersize=4)
    what = f"difference in {found['compared']}" if found["by_auc"] else f"share of the {found['compared']} saved"
    axes.set(xlabel="age [months]", ylabel=what, xticks=at)
    return _svg(figure)


def _figure() -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.4), layout="constrained", facecolor="none")
    return figure, figure.add_subplot(facecolor="none")


def _svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    content = text.getvalue()
    for colour, variable in _VARIABLES.items():
        content = content.replace(colour, variable)
    return content[content.index("<svg") :]


def _titled(picture: str, caption: str) -> str:
    """Give the picture its name for readers of the screen, and its elements ids that no other picture of the page has."""
    name = "".join(letter if letter.isalnum() else "-" for letter in caption.lower())
    for place in ('id="', 'xlink:href="#', "url(#"):
        picture = picture.replace(place, f"{place}{name}-")
    return picture.replace("<svg ", f'<svg role="img" aria-label="{escape(caption)}" ', 1)
