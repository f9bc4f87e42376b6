"""The model card for people, and the one of CycloneDX in the SBOM, from the same evidence."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from contract.files import canonical_json
from pipelines.stages.bundle import card as bundled
from pipelines.stages.evaluate.report import card
from tests.pipelines.evaluate.report.conftest import Evaluated

_GAP = {
    "measure": "gap in error rates",
    "figure": 0.12,
    "lower_bound": 0.03,
    "upper_bound": 0.2,
    "between": ["north", "south"],
}
MORE: dict[str, Any] = {
    "slices": {
        "fewest_rows": 30,
        "unit": "days",
        "slices": [
            {
                "by": "depot",
                "value": "north|<b>",
                "rows": 600,
                "figures": {
                    "headline": {"measure": "ROC-AUC", "figure": 0.8, "lower_bound": 0.7, "upper_bound": 0.9},
                    "calibration_gap": {"measure": "gap", "figure": 0.1, "lower_bound": -0.1, "upper_bound": 0.2},
                },
                "live": None,
            },
            {"by": "depot", "value": "tiny", "rows": 31, "figures": {}, "live": None},
        ],
        "every": None,
        "some": None,
        "weak": None,
    },
    "fairness": [
        {
            "column": "depot",
            "groups": [{"value": "north", "rows": 600}, {"value": "south", "rows": 300}],
            "gaps": {"error_rate": {**_GAP, "limit": 0.1, "verdict": "undecided"}},
        }
    ],
}
INPUTS = {"partitions": {"2024-01": "ab" * 32, "2024-02": "cd" * 32}}


def test_card_has_every_section_with_figures_bounds_and_digests(evaluated: Evaluated) -> None:
    assert re.findall("^## (.*)$", evaluated.card, re.MULTILINE) == [
        "Intended use", "The model", "Data", "Metrics", "Slices", "Fairness", "Behaviour", "Staleness", "Limits", "Compute it again",
    ]  # fmt: skip
    assert evaluated.card.startswith("# Model card: deliveries\n\n**Approved.** All ")
    assert evaluated.found.lineage["model"]["model.onnx"] in evaluated.card
    assert re.search(r"\| ROC-AUC \| [.\d]+ \([.\d]+ to [.\d]+\) \|", evaluated.card)
    assert "No column is marked `protected`" in evaluated.card


def test_card_shows_slices_and_gaps_and_no_value_of_the_data_is_markup(evaluated: Evaluated) -> None:
    found = replace(evaluated.found, approval=evaluated.found.approval | MORE)
    text = card.render(evaluated.params, found)
    assert "| depot north\\|&lt;b> | 600 | 0.8 (0.7 to 0.9) | 0.1 (-0.1 to 0.2) |" in text
    assert "| depot tiny | 31 | too small | too small |" in text
    assert "| depot | gap in error rates | north and south | 0.12 (0.03 to 0.2) | undecided |" in text
    assert text == card.render(evaluated.params, found)


@pytest.mark.parametrize("more", [{"slices": None, "fairness": []}, MORE])
def test_component_of_the_sbom_is_valid_and_has_metrics_slices_and_fairness(
    evaluated: Evaluated, more: dict[str, Any]
) -> None:
    approval = json.loads(canonical_json(evaluated.found.approval | more))
    component = bundled.component(evaluated.params, approval, INPUTS, "ef" * 32)
    sbom = {"bomFormat": "CycloneDX", "specVersion": "1.7", "metadata": {"component": component}, "components": []}
    errors = JsonStrictValidator(SchemaVersion.V1_7).validate_str(json.dumps(sbom))
    assert errors is None, errors
    analysis = component["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert {entry["type"] for entry in analysis} >= {"ROC-AUC", "calibration error", "precision", "recall"}
    assert all(float(entry["confidenceInterval"]["lowerBound"]) <= float(entry["value"]) for entry in analysis)
    assert [entry["slice"] for entry in analysis if "slice" in entry] == (
        ["depot: north|<b>"] * 2 if more["slices"] else []
    )
    datasets = component["modelCard"]["modelParameters"]["datasets"]
    assert [entry["contents"]["properties"][0]["value"] for entry in datasets] == ["ab" * 32, "cd" * 32]
    assessed = component["modelCard"]["considerations"].get("fairnessAssessments", [])
    assert [entry["groupAtRisk"] for entry in assessed] == (["depot: north, south"] if more["fairness"] else [])


def test_validator_refuses_a_card_that_is_wrong(evaluated: Evaluated) -> None:
    component = bundled.component(evaluated.params, evaluated.found.approval, INPUTS, "ef" * 32)
    component["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0]["value"] = 0.7  # a number is no text
    sbom = {"bomFormat": "CycloneDX", "specVersion": "1.7", "metadata": {"component": component}}
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(json.dumps(sbom)) is not None
