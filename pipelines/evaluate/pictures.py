"""The report's pictures, as SVG; the same numbers give the same bytes."""

from __future__ import annotations

import io
from typing import Any

Rows = list[dict[str, Any]]
_MODEL, _CHANCE = "#2456a6", "#9aa3ad"


def pictures(curves: dict[str, Rows], positive_rate: float) -> dict[str, str]:
    """`roc`, `pr`, `calibration` and `importance` as SVG elements."""
    import matplotlib

    matplotlib.use("svg")
    with matplotlib.rc_context(
        {"svg.hashsalt": "bulkhead", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    ):
        return {
            "roc": _line(curves["roc"], "fpr", "tpr", "false positive rate", "true positive rate", [(0, 0), (1, 1)]),
            "pr": _line(
                curves["pr"], "recall", "precision", "recall", "precision", [(0, positive_rate), (1, positive_rate)]
            ),
            "calibration": _calibration(curves["calibration"]),
            "importance": _bars(curves["importance"][:15]),
        }


def _line(rows: Rows, x: str, y: str, x_label: str, y_label: str, chance: list[tuple[float, float]]) -> str:
    figure, axes = _figure()
    axes.plot(*zip(*chance, strict=True), color=_CHANCE, linestyle="--", linewidth=1)
    axes.plot([row[x] for row in rows], [row[y] for row in rows], color=_MODEL)
    axes.set(xlabel=x_label, ylabel=y_label, xlim=(0, 1), ylim=(0, 1.01))
    return _svg(figure)


def _calibration(rows: Rows) -> str:
    figure, axes = _figure()
    top = 1.05 * max(max(row["score"], row["rate"]) for row in rows)
    axes.plot([0, top], [0, top], color=_CHANCE, linestyle="--", linewidth=1)
    axes.plot([row["score"] for row in rows], [row["rate"] for row in rows], color=_MODEL, marker="o", markersize=4)
    axes.set(xlabel="mean predicted probability", ylabel="share of positives", xlim=(0, top), ylim=(0, top))
    return _svg(figure)


def _bars(rows: Rows) -> str:
    figure, axes = _figure()
    names = [row["feature"] for row in rows][::-1]
    axes.barh(names, [row["importance"] for row in rows][::-1], color=_MODEL)
    axes.set(xlabel="share of the total gain")
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
