"""The curves behind `dvc plots` and the report, thinned to what a picture can show."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.measures import Labels, Scores, calibration

_POINTS = 200


def roc(labels: Labels, scores: Scores) -> list[dict[str, float]]:
    from sklearn.metrics import roc_curve

    false_positive, true_positive, _ = roc_curve(labels, scores)
    return _thin({"fpr": false_positive, "tpr": true_positive})


def precision_recall(labels: Labels, scores: Scores) -> list[dict[str, float]]:
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(labels, scores)
    return _thin({"recall": recall[::-1], "precision": precision[::-1]})


def curves(labels: Labels, scores: Scores, importance: dict[str, float]) -> dict[str, list[dict[str, Any]]]:
    """`roc`, `pr`, `calibration` and `importance` as rows."""
    ranked = sorted(importance.items(), key=lambda entry: -entry[1])
    return {
        "roc": roc(labels, scores),
        "pr": precision_recall(labels, scores),
        "calibration": calibration(labels, scores),
        "importance": [{"feature": name, "importance": share} for name, share in ranked],
    }


def to_csv(rows: Sequence[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _thin(columns: dict[str, Any]) -> list[dict[str, float]]:
    size = len(next(iter(columns.values())))
    picked = np.unique(np.linspace(0, size - 1, min(size, _POINTS)).astype(int))
    return [{name: float(values[index]) for name, values in columns.items()} for index in picked]
