"""The model in the bundle's SBOM, as a CycloneDX model card; the same evidence gives the same bytes.

Source: CycloneDX 1.7, modelCard.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from contract.schema.tasks import TASKS
from pipelines.params.params import Params
from pipelines.statistics.measures import MEASURES

_REF = "model"


def component(params: Params, approval: Mapping[str, Any], inputs: Mapping[str, Any], sha256: str) -> dict[str, Any]:
    """Return the component that the SBOM describes: the model, with its card.

    Args:
        approval: `gates.json`.
        inputs: those of the manifest.
        sha256: of `model.onnx`.
    """
    return {
        "type": "machine-learning-model",
        "bom-ref": _REF,
        "name": params.name,
        "version": sha256[:16],
        "hashes": [{"alg": "SHA-256", "content": sha256}],
        "modelCard": {
            "modelParameters": _parameters(params, inputs),
            "quantitativeAnalysis": {"performanceMetrics": [*_metrics(approval), *_of_slices(approval)]},
            "considerations": _considerations(params, approval),
        },
    }


def _parameters(params: Params, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "approach": {"type": "supervised"},
        "task": "regression" if TASKS[params.target.task].is_number else "classification",
        "architectureFamily": params.train.family,
        "modelArchitecture": "ONNX",
        "datasets": [
            {
                "type": "dataset",
                "name": f"data/partitions/{month}.parquet",
                "description": f"version {params.data.source.version}; training, validation or hold-out, by split.kind {params.split.kind}",
                "contents": {"properties": [{"name": "sha256", "value": sha256}]},
            }
            for month, sha256 in inputs["partitions"].items()
        ],
        "inputs": [
            {"format": f"{name}: {column.kind}"}
            for name, column in sorted(params.data.columns.items())
            if column.known == "before"
        ],
        "outputs": [{"format": f"{params.target.column}: {TASKS[params.target.task].form}"}],
    }  # fmt: skip


def _metrics(approval: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for figure in approval["figures"].values():
        yield _metric(figure["measure"], figure)


def _of_slices(approval: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    section = approval.get("slices") or {"slices": []}
    for entry in section["slices"]:
        for name, figure in entry["figures"].items():
            if figure is not None:
                title = MEASURES[approval["headline"]].title if name == "headline" else figure["measure"]
                yield _metric(title, figure) | {"slice": f"{entry['by']}: {entry['value']}"}


def _metric(title: str, figure: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": title,
        "value": _text(figure["figure"]),
        "confidenceInterval": {
            "lowerBound": _text(figure["lower_bound"]),
            "upperBound": _text(figure["upper_bound"]),
        },
    }


def _considerations(params: Params, approval: Mapping[str, Any]) -> dict[str, Any]:
    use = f"Predict “{params.target.column}” for rows like those that params.yaml declares."
    limits = ["Bounds are one-sided, each with 95 % confidence, from resampling " + approval["given"]["unit"] + "."]
    limits += approval["weak"]
    limits += [f"suspected leak: {name}, {evidence}" for name, evidence in approval["suspects"].items()]
    found: dict[str, Any] = {"useCases": [use], "technicalLimitations": limits}
    if assessments := [*_assessments(approval)]:
        found["fairnessAssessments"] = assessments
    return found


def _assessments(approval: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for section in approval.get("fairness") or ():
        gaps = [_gap(gap) for gap in section["gaps"].values()]
        groups = ", ".join(str(group["value"]) for group in section["groups"])
        yield {"groupAtRisk": f"{section['column']}: {groups}", "harms": "; ".join(gaps) or "too small to judge"}


def _gap(gap: Mapping[str, Any]) -> str:
    if gap["figure"] is None:
        return f"{gap['measure']}: too small to judge"
    limit = "" if gap["limit"] is None else f", limit {gap['limit']:g}"
    bounds = f"{gap['lower_bound']:.4g} to {gap['upper_bound']:.4g}"
    between = " and ".join(map(str, gap["between"] or ()))
    return f"{gap['measure']} between {between}: {gap['figure']:.4g} ({bounds}{limit}): {gap['verdict']}"


def _text(number: float) -> str:
    return f"{number:.6g}"
