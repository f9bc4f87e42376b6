"""The same model in the formats that could cross the wall: speed, start, size and memory of each engine, and the differences in score."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.results import Figure, figure
from contract.bundle import manifest
from contract.model.encoder import Encoder
from contract.schema.schema import FeatureSchema
from harness import PROJECT, interpreter
from harness.bundles import Bundle
from harness.processes import SERVER_CORE, pin
from pipelines.columns.golden import golden_rows

ROUNDS = 3
ROWS = 20_000
# Engine -> its environment, and its display name.
ENGINES = {
    "onnx": ("serving", "ONNX Runtime"),
    "inplace_predict": ("bench", "XGBoost, inplace_predict"),
    "dmatrix": ("bench", "XGBoost, DMatrix"),
    "treelite": ("bench", "Treelite GTIL"),
}
MEASURES = {
    "row_us": "µs",
    "rows_64_us": "µs",
    "load_ms": "ms",
    "installed_mb": "MB",
    "memory_mb": "MB",
}
_TOLERANCE = 1e-5


class OtherScoresError(Exception):
    """Two formats of the model give different scores, so a comparison of speed is meaningless."""


def formats(bundle: Bundle) -> list[Figure]:
    """Return a figure for each measure and peer: ONNX Runtime's against the peer's; then the largest difference from XGBoost."""
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        np.save(scratch / "matrix.npy", _matrix(bundle))
        rounds = [{engine: _measure(engine, bundle, scratch) for engine in ENGINES} for _ in range(ROUNDS)]
        scores = {engine: np.load(scratch / f"{engine}.npy") for engine in ENGINES}
    found = {engine: {key: median([run[engine][key] for run in rounds]) for key in MEASURES} for engine in ENGINES}
    differences = {engine: float(np.abs(given - scores["inplace_predict"]).max()) for engine, given in scores.items()}
    if max(differences.values()) > _TOLERANCE * float(np.abs(scores["inplace_predict"]).max()):
        raise OtherScoresError(f"largest differences from XGBoost's scores: {differences}")
    figures = [
        _figure(f"format_{key}_over_{engine}", found["onnx"][key], MEASURES[key], engine, found[engine][key])
        for key in MEASURES
        for engine in ENGINES
        if engine != "onnx"
    ]
    return [
        *figures,
        _figure("format_difference", differences["onnx"], "from XGBoost", "treelite", differences["treelite"] or 1e-12),
    ]


def _figure(name: str, value: float, unit: str, engine: str, peer_value: float) -> Figure:
    return figure(name, value, unit, peer=ENGINES[engine][1], peer_value=peer_value, benchmark="formats")


def _matrix(bundle: Bundle) -> Any:
    """Return encoded rows that the schema allows, with gaps and unknown categories, made like golden requests."""
    schema = FeatureSchema.from_bytes((bundle.path / manifest.ARTIFACT / "schema.json").read_bytes())
    matrix, _ = Encoder(schema).encode_rows(golden_rows(schema, ROWS))
    return matrix


def _measure(engine: str, bundle: Bundle, scratch: Path) -> dict[str, float]:
    """Measure an engine in a process of its own, on one core."""
    program = PROJECT / "benchmarks" / "peers" / "bench" / "model_formats.py"
    arguments = (engine, bundle.model, scratch / "matrix.npy", scratch / f"{engine}.npy")
    before = os.sched_getaffinity(0)
    pin(SERVER_CORE)
    try:
        done = subprocess.run(
            [interpreter(ENGINES[engine][0]), program, *arguments],
            env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        os.sched_setaffinity(0, before)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured
