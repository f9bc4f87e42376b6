"""A literal schema with every kind of field and every transform, and tiny bundles."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.bundle import manifest
from contract.bundle.manifest import Manifest
from contract.files import sha256
from contract.schema.schema import Feature, FeatureSchema, Field, Target

SCHEMA = FeatureSchema(
    name="toy",
    task="binary",
    target=Target("late", ("on_time", "late"), 0.5),
    fields=(
        Field("carrier", "category"),
        Field("gate", "category", required=False),
        Field("at", "timestamp"),
        Field("distance", "number", unit="mi", minimum=1, maximum=6000),
        Field("wind", "number", required=False),
        Field("night", "boolean", required=False),
    ),
    features=(
        Feature("carrier", "category", ("carrier",), {"categories": ["AA", "UA"]}),
        Feature("gate", "lookup", ("gate",), {"table": {"B7": 0.25}, "default": -1.0}),
        Feature("minute", "calendar", ("at",), {"part": "minute_of_day"}),
        Feature("hour_sin", "cyclic", ("at",), {"part": "hour", "function": "sin"}),
        Feature("distance", "value", ("distance",)),
        Feature("log_wind", "log", ("wind",)),
        Feature("wind_per_mile", "ratio", ("wind", "distance")),
        Feature("night", "value", ("night",)),
    ),
)
ROW = {"carrier": "UA", "gate": "B7", "at": "2013-12-24T17:30", "distance": 500, "wind": 20.0, "night": True}


def write_bundle(root: Path, text: str = "weights") -> str:
    """A bundle of two files. Returns its digest."""
    (root / "src").mkdir(parents=True, exist_ok=True)
    (root / "src" / "model.onnx").write_text(text)
    (root / "requirements.txt").write_text("numpy\n")
    claims = Manifest(
        name="toy",
        task="binary",
        files=manifest.tree_digests(root),
        environment={"lock": "requirements.txt", "lock_sha256": sha256(root / "requirements.txt")},
    )
    (root / manifest.FILE_NAME).write_bytes(claims.to_bytes())
    return manifest.digest_of(root)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"
