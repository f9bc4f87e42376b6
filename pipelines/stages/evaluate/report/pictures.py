"""The report's pictures, as SVG in the colours of the page, light or dark; the same numbers give the same bytes."""

from __future__ import annotations

from typing import Any

from contract.schema.tasks import TASKS
from pipelines.stages.evaluate.report.drawing import CHANCE, INK, MODEL, canvas, styled, svg, titled

Rows = list[dict[str, Any]]
_MOST_BARS = 15


def pictures(
    curves: dict[str, Rows],
    bands: dict[str, Rows],
    reliability: dict[str, Any],
    effects: dict[str, Any] | None,
    staleness: dict[str, Any] | None,
    task: str,
    outcomes: dict[str, Any],
    unit: str | None,
) -> dict[str, str]:
    """Return the curves of `curves.curves` for the task as SVG elements, by caption.

    Args:
        bands: bounds of `roc` and `pr`, as `curves.bands` has them.
        reliability: bins with bounds.
        effects: as `effects.effects` has them.
        staleness: `reports/staleness.json`; None, or without ages: not drawn.
        outcomes: shares of the labels with bounds, or the mean.
        unit: of the target, for the axes of numbers.
    """
    with styled():
        drawn = _of_numbers(curves, reliability["bins"], TASKS[task].form, unit) if TASKS[task].is_number else _of_labels(
            curves, bands, reliability["bins"], task, outcomes
        )  # fmt: skip
        if effects is not None:
            drawn["Effect of features"] = _effects(effects["features"][:_MOST_BARS], effects["scale"])
        if staleness is not None and staleness["ages"]:
            drawn["Staleness: difference from the freshest model, by age; dashed the margin"] = _staleness(staleness)
        return {caption: titled(picture, caption) for caption, picture in drawn.items()}


def _of_numbers(curves: dict[str, Rows], bins: Rows, form: str, unit: str | None) -> dict[str, str]:
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
        caption: _reliability(bins, *axes),
    }


def _of_labels(
    curves: dict[str, Rows],
    bands: dict[str, Rows],
    bins: Rows,
    task: str,
    outcomes: dict[str, Any],
) -> dict[str, str]:
    axes = {
        "probability": ("mean predicted probability", "share of positives"),
        "probabilities": ("mean probability of the answered label", "share of right answers"),
    }[TASKS[task].form]
    rate = next(iter(outcomes.values()))["figure"]
    base = [(0.0, rate), (1.0, rate)] if TASKS[task].has_positive else []
    roc = "ROC curve, every label against the rest" if TASKS[task].has_many_labels else "ROC curve"
    return {
        roc: _line(
            curves["roc"], bands["roc"], ("fpr", "tpr"), ("false positive rate", "true positive rate"), [(0, 0), (1, 1)]
        ),
        "Precision and recall": _line(
            curves["pr"], bands["pr"], ("recall", "precision"), ("recall", "precision"), base
        ),
        "Reliability, bins of equal count": _reliability(bins, *axes),
    }


def _line(
    rows: Rows, band: Rows, names: tuple[str, str], labels: tuple[str, str], chance: list[tuple[float, float]]
) -> str:
    figure, axes = canvas()
    if chance:
        axes.plot(*zip(*chance, strict=True), color=CHANCE, linestyle="--", linewidth=1)
    x, y = ([row[name] for row in rows] for name in names)
    axes.fill_between(*_bounds(band, names[0]), color=MODEL, alpha=0.2, linewidth=0)
    axes.plot(x, y, color=MODEL)
    axes.set(xlabel=labels[0], ylabel=labels[1], xlim=(0, 1), ylim=(0, 1.01))
    return svg(figure)


def _bounds(rows: Rows, at: str) -> tuple[list[float], ...]:
    return tuple([row[name] for row in rows] for name in (at, "lower_bound", "upper_bound"))


def _reliability(bins: Rows, x_label: str, y_label: str) -> str:
    figure, axes = canvas()
    at, low, high = _bounds(bins, "predicted")
    lowest, highest = min(0.0, 1.05 * min([*at, *low])), 1.05 * max([*at, *high])
    axes.plot([lowest, highest], [lowest, highest], color=CHANCE, linestyle="--", linewidth=1)
    axes.fill_between(at, low, high, color=MODEL, alpha=0.2, linewidth=0)
    axes.plot(at, [row["observed"] for row in bins], color=MODEL, marker="o", markersize=4)
    axes.set(xlabel=x_label, ylabel=y_label, xlim=(lowest, highest), ylim=(lowest, highest))
    return svg(figure)


def _scatter(rows: Rows, unit: str) -> str:
    figure, axes = canvas()
    actual = [row["actual"] for row in rows]
    axes.plot([actual[0], actual[-1]], [actual[0], actual[-1]], color=CHANCE, linestyle="--", linewidth=1)
    axes.plot(
        actual, [row["predicted"] for row in rows], color=MODEL, marker="o", markersize=3, linestyle="", alpha=0.5
    )
    axes.set(xlabel=f"actual{unit}", ylabel=f"predicted{unit}")
    return svg(figure)


def _histogram(rows: Rows, unit: str) -> str:
    figure, axes = canvas()
    middles = [row["residual"] for row in rows]
    axes.bar(middles, [row["rows"] for row in rows], width=middles[1] - middles[0], color=MODEL)
    axes.set(xlabel=f"actual less predicted{unit}", ylabel="rows")
    return svg(figure)


def _effects(features: Rows, scale: str) -> str:
    figure, axes = canvas()
    shown = features[::-1]
    figures = [row["mean_absolute"]["figure"] for row in shown]
    # A percentile of the resamplings may lie on the figure's other side.
    errors = [
        [max(0.0, figure - row["mean_absolute"]["lower_bound"]) for figure, row in zip(figures, shown, strict=True)],
        [max(0.0, row["mean_absolute"]["upper_bound"] - figure) for figure, row in zip(figures, shown, strict=True)],
    ]
    axes.barh(
        [row["feature"] for row in shown], figures, xerr=errors, color=MODEL, ecolor=INK, error_kw={"elinewidth": 0.8}
    )
    axes.set(xlabel=f"mean absolute contribution [{scale}]")
    return svg(figure)


def _staleness(found: dict[str, Any]) -> str:
    figure, axes = canvas()
    # Of age 1 is the freshest model itself.
    rows = [{"age_months": 1, "figure": 0.0, "lower_bound": 0.0, "upper_bound": 0.0}, *found["ages"]]
    at = [row["age_months"] for row in rows]
    axes.axhline(-found["margin"], color=CHANCE, linestyle="--", linewidth=1)
    axes.fill_between(*_bounds(rows, "age_months"), color=MODEL, alpha=0.2, linewidth=0)
    axes.plot(at, [row["figure"] for row in rows], color=MODEL, marker="o", markersize=4)
    what = f"difference in {found['compared']}" if found["by_auc"] else f"share of the {found['compared']} saved"
    axes.set(xlabel="age [months]", ylabel=what, xticks=at)
    return svg(figure)
