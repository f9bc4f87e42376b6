"""The lineage of an evaluation: the rows, from delivery to hold-out, and the digests of what this model was made from."""

from __future__ import annotations

import json
from typing import Any

from contract.errors import BundleError
from contract.files import sha256
from contract.model.predictor import MODEL_FILE_NAME
from contract.schema import schema
from contract.schema.schema import FeatureSchema
from pipelines import paths
from pipelines.data import splits, tables
from pipelines.params.params import Params
from pipelines.stages.evaluate.holdout import Holdout

PARTS = {
    splits.TRAINING: "training",
    splits.VALIDATION: "validation",
    splits.HOLDOUT: "hold-out",
    splits.UNUSED: "in none: between the parts, or outside them",
}


def lineage(params: Params, held: Holdout, screening: dict[str, Any]) -> dict[str, Any]:
    """Return rows and digests by month, rows by part, dates of the hold-out, what was screened out, and the digests of the model."""
    # A workspace in which `validate` never ran has no deliveries, only accepted rows.
    validated = json.loads(paths.VALIDATION.read_bytes()) if paths.VALIDATION.exists() else {}
    counts = json.loads(paths.COUNTS.read_bytes())
    parts = tables.read(paths.PARTS)[splits.PART]
    times = held.table[params.data.time] if params.data.time is not None else None
    return {
        "version": params.data.source.version,
        "months": {month: _month(validated.get(month), counts[month]) for month in params.data.months},
        "parts": {name: int((parts == name).sum()) for name in PARTS},
        "dates": None if times is None else [str(times.min()), str(times.max())],
        "screened": {
            "identifiers": sorted(screening.get("identifiers", ())),
            "repeated": screening.get("repeated", {"rows": 0})["rows"],
        },
        "model": {name: sha256(paths.BOOSTED / name) for name in (MODEL_FILE_NAME, schema.FILE_NAME)},
    }


def _month(validated: dict[str, Any] | None, counts: dict[str, int]) -> dict[str, Any]:
    delivered = {} if validated is None else {
        "delivered": validated["rows"],
        "split_off": validated["split_rows"],
        "sha256": validated["partition_sha256"],
    }  # fmt: skip
    return {"delivered": None, "split_off": None, "sha256": None} | delivered | counts


def changes() -> list[str] | None:
    """Return the changes of the model's inputs against the live one, a line each; None where nothing is live, or it is unreadable."""
    try:
        live = FeatureSchema.from_bytes((paths.CHAMPION / schema.FILE_NAME).read_bytes())
    except (OSError, BundleError):
        return None
    trained = FeatureSchema.from_bytes((paths.BOOSTED / schema.FILE_NAME).read_bytes())
    old, new = ({feature.name: feature for feature in found.features} for found in (live, trained))
    named = {
        "new": [name for name in new if name not in old],
        "gone": [name for name in old if name not in new],
        "made otherwise": [name for name in new if name in old and new[name] != old[name]],
    }
    lines = [f"features that are {what}: {', '.join(names)}" for what, names in named.items() if names]
    lines += [f"the {name} changed" for name in ("target", "task") if getattr(live, name) != getattr(trained, name)]
    return lines
