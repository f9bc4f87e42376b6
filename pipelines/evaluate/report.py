"""`reports/evaluation.html`: the evaluation for people, one file without anything to load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipelines.evaluate import gate
from pipelines.evaluate.pictures import pictures
from pipelines.params import Params

# Measure -> what it is called, and how it is to be read.
_MEASURES = {
    "roc_auc": ("ROC-AUC", "higher is better; 0.5 is chance"),
    "pr_auc": ("PR-AUC", "higher is better; the positive share is chance"),
    "log_loss": ("log loss", "lower is better"),
    "brier": ("Brier score", "lower is better"),
    "calibration_error": ("calibration error", "lower is better"),
}
_NAMES = {"champion": "live model", "linear": "linear baseline", "prior": "prior"}


def render(
    params: Params,
    metrics: dict[str, Any],
    approval: dict[str, Any],
    slices: dict[str, dict[str, Any]],
    curves: dict[str, list[dict[str, Any]]],
    counts: dict[str, dict[str, int]],
    training: dict[str, Any],
) -> str:
    """The page; the same input gives the same bytes."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    models = {"this model": metrics} | {
        _NAMES[name]: metrics["against"][name] for name in _NAMES if name in metrics["against"]
    }
    return environment.get_template("report.html.j2").render(
        params=params,
        metrics=metrics,
        models=models,
        measures=_MEASURES,
        approval=approval,
        reasons=[(check["passed"], gate.reason(check)) for check in approval["checks"]],
        slices={"month": metrics["by_month"], **slices},
        counts=counts,
        training=training,
        pictures=pictures(curves, metrics["holdout"]["positive_rate"]),
        months=params.data.months,
    )
