"""The served answers beside the outcomes, as shares of the hold-out with bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.stages.evaluate.gates.figures import Figures
from pipelines.statistics import costs, parts
from pipelines.statistics.losses import pinball_losses
from pipelines.statistics.parts import Statistic

_MOST_LABELS = 30  # a larger table of confusions is one that nobody reads
Named = dict[str, tuple[str, Statistic]]


def answers(measuring: Figures) -> dict[str, dict[str, Any]]:
    """Return precision and recall of the positive label; of quantiles the coverage and the loss of each, as `coverage: 0.1`."""
    found, target, drawn = measuring.predictions, measuring.given.target, measuring.blocks
    scores, named = found.scores["model"], Named()
    if measuring.judged.form == "probability":
        answered, is_right = _answered(measuring) == 1, _answered(measuring) == found.outcomes
        for name, among in (("precision", answered), ("recall", found.outcomes == 1)):
            named[name] = name, parts.share(is_right & among, drawn, among)
    if measuring.judged.form == "quantiles":
        for level, column in zip(target.quantiles, scores.T, strict=True):
            losses = pinball_losses(found.outcomes, column[:, None], quantiles=(level,))
            is_below = found.outcomes <= column
            named[f"coverage: {level:g}"] = (
                f"share of outcomes up to the quantile {level:g}",
                parts.share(is_below, drawn),
            )
            named[f"pinball_loss: {level:g}"] = (
                f"pinball loss of the quantile {level:g}",
                parts.mean(losses, drawn, low=0.0),
            )
    return measuring.resampled(named)


def outcomes(measuring: Figures) -> dict[str, dict[str, Any]]:
    """Return the share of each label but the negative one, or the mean of numbers."""
    target, found = measuring.given.target, measuring.predictions.outcomes
    if not target.labels:
        return measuring.resampled({"mean": (f"mean of “{target.column}”", parts.mean(found, measuring.blocks))})
    shown = enumerate(target.labels) if len(target.labels) > 2 else [(1, target.labels[1])]
    shares = {
        f"share: {label}": (f"share of “{label}”", parts.share(found == code, measuring.blocks))
        for code, label in shown
    }
    return measuring.resampled(shares)


def confusion(measuring: Figures) -> list[dict[str, Any]]:
    """Return for each actual label its rows, and by answered label the rows and their share of it; nothing of numbers or many labels."""
    labels, actual = measuring.given.target.labels, measuring.predictions.outcomes
    if not labels or len(labels) > _MOST_LABELS:
        return []
    answered = _answered(measuring)
    cells = {
        (row, column): (actual == row, (actual == row) & (answered == column))
        for row in range(len(labels))
        for column in range(len(labels))
    }
    shares = measuring.resampled(
        {
            f"{row} {column}": (
                f"share of “{labels[row]}” answered with “{labels[column]}”",
                parts.share(both, measuring.blocks, among),
            )
            for (row, column), (among, both) in cells.items()
        }
    )
    return [
        {
            "actual": label,
            "rows": int((actual == row).sum()),
            "answered": [
                {"label": other, "rows": int(cells[row, column][1].sum()), "share": shares.get(f"{row} {column}")}
                for column, other in enumerate(labels)
            ],
        }
        for row, label in enumerate(labels)
    ]


def _answered(measuring: Figures) -> NDArray[np.int64]:
    scores, threshold = measuring.predictions.scores["model"], measuring.given.target.threshold
    return costs.served_answers(measuring.judged.form, scores, threshold)
