"""The report's pictures, as SVG; the same numbers give the same bytes."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

from contract.schema.tasks import TASKS

Rows = list[dict[str, Any]]
_FEW_LABELS = 12  # for so many, each cell of the confusion matrix has room for its number
_MODEL, _CHANCE = "#2456a6", "#9aa3ad"


def pictures(curves: dict[str, Rows], task: str, positive_rate: float | None, importance_of: str) -> dict[str, str]:
    """Return the curves of `curves.curves` for the task as SVG elements, by caption."""
    import matplotlib

    matplotlib.use("svg")
    # Without a salt the ids of SVG elements are random.
    with matplotlib.rc_context(
        {"svg.hashsalt": "bulkhead", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    ):
        importance = {"Importance of features": _bars(curves["importance"][:15], f"share of the total {importance_of}")}
        form = TASKS[task].form
        if form in ("value", "quantiles"):
            predicted, caption, axes = {
                "value": ("Predicted", "Calibration, ten bins of equal count", ("mean predicted", "mean actual")),
                "quantiles": (
                    "Middle quantile",
                    "Calibration of the quantiles",
                    ("level", "share of outcomes up to it"),
                ),
            }[form]
            return {
                f"{predicted} and actual": _scatter(curves["predicted"]),
                "Residuals: actual less predicted": _histogram(curves["residuals"]),
                caption: _calibration(curves["calibration"], *axes),
            } | importance
        calibrated = {
            "probability": ("mean predicted probability", "share of positives"),
            "probabilities": ("mean probability of the answered label", "share of right answers"),
        }[form]
        base = [] if positive_rate is None else [(0.0, positive_rate), (1.0, positive_rate)]
        roc = _line(curves["roc"], "fpr", "tpr", "false positive rate", "true positive rate", [(0, 0), (1, 1)])
        first = {
            "ROC curve": roc,
            "Precision and recall": _line(curves["pr"], "recall", "precision", "recall", "precision", base),
        }
        if form == "probabilities":
            first = {
                "Confusion matrix": _matrix(curves["confusion"]),
                "ROC curve, every label against the rest": roc,
            }
        return (
            first
            | {"Calibration, ten bins of equal count": _calibration(curves["calibration"], *calibrated)}
            | importance
        )


def _line(rows: Rows, x: str, y: str, x_label: str, y_label: str, chance: list[tuple[float, float]]) -> str:
    figure, axes = _figure()
    if chance:
        axes.plot(*zip(*chance, strict=True), color=_CHANCE, linestyle="--", linewidth=1)
    axes.plot([row[x] for row in rows], [row[y] for row in rows], color=_MODEL)
    axes.set(xlabel=x_label, ylabel=y_label, xlim=(0, 1), ylim=(0, 1.01))
    return _svg(figure)


def _calibration(rows: Rows, x_label: str, y_label: str) -> str:
    figure, axes = _figure()
    values = [row[key] for row in rows for key in ("score", "rate")]
    low, high = min(0.0, 1.05 * min(values)), 1.05 * max(values)
    axes.plot([low, high], [low, high], color=_CHANCE, linestyle="--", linewidth=1)
    axes.plot([row["score"] for row in rows], [row["rate"] for row in rows], color=_MODEL, marker="o", markersize=4)
    axes.set(xlabel=x_label, ylabel=y_label, xlim=(low, high), ylim=(low, high))
    return _svg(figure)


def _scatter(rows: Rows) -> str:
    figure, axes = _figure()
    actual = [row["actual"] for row in rows]
    axes.plot([actual[0], actual[-1]], [actual[0], actual[-1]], color=_CHANCE, linestyle="--", linewidth=1)
    axes.plot(
        actual, [row["predicted"] for row in rows], color=_MODEL, marker="o", markersize=3, linestyle="", alpha=0.5
    )
    axes.set(xlabel="actual", ylabel="predicted")
    return _svg(figure)


def _histogram(rows: Rows) -> str:
    figure, axes = _figure()
    middles = [row["residual"] for row in rows]
    axes.bar(middles, [row["rows"] for row in rows], width=middles[1] - middles[0], color=_MODEL)
    axes.set(xlabel="actual less predicted", ylabel="rows")
    return _svg(figure)


def _matrix(rows: Rows) -> str:
    """Draw the confusion matrix; the shade is the share of the actual label."""
    labels = sorted({row[key] for row in rows for key in ("actual", "predicted")})
    counts = Counter((row["actual"], row["predicted"]) for row in rows)
    totals = Counter(row["actual"] for row in rows)
    figure, axes = _figure()
    shades = [[counts[actual, label] / max(1, totals[actual]) for label in labels] for actual in labels]
    axes.pcolormesh(shades, cmap="Blues", vmin=0, vmax=1, edgecolors="white")
    for y, actual in enumerate(labels):
        for x, label in enumerate(labels):
            if len(labels) <= _FEW_LABELS:
                color = "white" if shades[y][x] > 0.5 else "black"
                axes.text(x + 0.5, y + 0.5, counts[actual, label], ha="center", va="center", color=color)
    places = [place + 0.5 for place in range(len(labels))]
    axes.set_xticks(places, labels, rotation=45 if len(labels) > 3 else 0)
    axes.set_yticks(places, labels)
    axes.set(xlabel="predicted", ylabel="actual")
    axes.invert_yaxis()
    return _svg(figure)


def _bars(rows: Rows, label: str) -> str:
    figure, axes = _figure()
    names = [row["feature"] for row in rows][::-1]
    axes.barh(names, [row["importance"] for row in rows][::-1], color=_MODEL)
    axes.set(xlabel=label)
    return _svg(figure)


def _figure() -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    content = text.getvalue()
    return content[content.index("<svg") :]
