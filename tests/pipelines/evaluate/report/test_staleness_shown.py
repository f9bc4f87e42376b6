"""The report and the model card on staleness: measured, or why not."""

from __future__ import annotations

from dataclasses import replace

from pipelines.stages.evaluate.report import card, page
from tests.pipelines.evaluate.report.conftest import Evaluated

BOUNDS = {"figure": -0.02, "lower_bound": -0.03, "upper_bound": -0.012}
MEASURED = {
    "sentence": "Retrain every month: a model in its 2nd month loses more than 0.01 ROC-AUC.",
    "rule": "The rule.", "held_fixed": "The features.", "measure": "ROC-AUC", "compared": "ROC-AUC", "by_auc": True, "margin": 0.01,
    "fewest": 20, "unit": "days", "resamples": 200, "left_out": [{"trained_to": "2023-11", "because": "no row validates"}],
    "ages": [{"age_months": 2, "months": ["2024-02"], "rows": 580, "clusters": 29, "verdict": "lost"} | BOUNDS],
    "curve": [
        {"trained_to": "2023-12", "month": "2024-02", "age_months": 2, "rows": 580, "clusters": 29, "difference": BOUNDS,
         "figure": 0.8, "lower_bound": 0.7, "upper_bound": 0.9},
        {"trained_to": "2024-01", "month": "2024-02", "age_months": 1, "rows": 580, "clusters": 29, "difference": None,
         "figure": 0.82, "lower_bound": 0.7, "upper_bound": 0.9},
    ],
}  # fmt: skip


def test_report_and_card_say_when_to_retrain(evaluated: Evaluated) -> None:
    found = replace(evaluated.found, staleness=MEASURED)
    shown, told = page.render(evaluated.params, found), card.render(evaluated.params, found)
    for text in (shown, told):
        assert MEASURED["sentence"] in text
        assert "The rule." in text
        assert "lost" in text
    assert "-0.0200" in shown
    assert "no row validates" in shown
    assert 'aria-label="Staleness: difference from the freshest model, by age; dashed the margin"' in shown
    assert "| 2 | 2024-02 | 580 | -0.0200 (-0.0300 to -0.0120) | lost |" in told


def test_report_and_card_say_why_nothing_is_known(evaluated: Evaluated) -> None:
    found = replace(
        evaluated.found,
        staleness={"sentence": None, "because": "too few months", "ages": [], "curve": [], "left_out": []},
    )
    assert "Not measured: too few months." in page.render(evaluated.params, found)
    assert "Not measured: too few months." in card.render(evaluated.params, found)
    assert "Staleness" not in evaluated.page  # `evaluate` ran alone
