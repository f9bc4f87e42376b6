"""Paths of the files in `dvc.yaml`, relative to the workspace, and of the directory beside them."""

import os
from pathlib import Path

PARAMS = Path("params.yaml")
DECLARED = Path("data/declared.json")
DECLARED_FEATURES = Path("data/declared_features.json")
PARTITIONS = Path("data/partitions")
ACCEPTED = Path("data/accepted")
QUARANTINED = Path("data/quarantine")
FEATURES = Path("data/features")
TRAINING_ROWS = FEATURES / "train"
HISTORY = FEATURES / "history"
PARTS = FEATURES / "parts.parquet"
COUNTS = FEATURES / "counts.json"
MODELS = Path("models")
BOOSTED = MODELS / "boosted"
UNCALIBRATED = BOOSTED / "uncalibrated.onnx"
LINEAR = MODELS / "linear"
CHAMPION = MODELS / "champion"
TUNING = MODELS / "tuning.json"
TRAINING = MODELS / "training.json"
GATES = MODELS / "gates.json"
PREDICTIONS = MODELS / "predictions.parquet"
REPORTS = Path("reports")
VALIDATION = REPORTS / "validation.json"
SCREENING = REPORTS / "screening.json"
STALENESS = REPORTS / "staleness.json"
DATA_DOCS = REPORTS / "data_docs"
CURVE = REPORTS / "training"
PLOTS = REPORTS / "plots"
VERDICT = REPORTS / "verdict.html"
EVALUATION = REPORTS / "evaluation.html"  # the same page, with the digest of the bundle once there is one
REHEARSAL = REPORTS / "rehearsal.json"
MODEL_CARD = REPORTS / "model_card.md"
COSTS = REPORTS / "costs.html"
COMPARISON = REPORTS / "comparison.html"
MONITOR = REPORTS / "monitor.json"
METRICS = Path("metrics.json")
BUNDLE = Path("build/bundle")


def partition(month: str) -> Path:
    """Return the Parquet file of a month such as `2013-01`."""
    return PARTITIONS / f"{month}.parquet"


def accepted(month: str) -> Path:
    """Return the file with the accepted rows of a month, which every later stage reads."""
    return ACCEPTED / f"{month}.parquet"


def history(month: str) -> Path:
    """Return the file with the history of a month's accepted rows, in their order."""
    return HISTORY / f"{month}.parquet"


def training_rows(month: str) -> Path:
    """Return the file with a month's encoded rows for training and validation."""
    return TRAINING_ROWS / f"{month}.parquet"


def project() -> Path:
    """Return the base of relative paths: the working directory, or the project of an experiment that DVC runs in a copy."""
    copies = (parent for parent in Path.cwd().parents if parent.parts[-3:] == (".dvc", "tmp", "exps"))
    return next((copy.parents[2] for copy in copies), Path())


def var_directory() -> Path:
    """Return the directory of state outside version control: `BULKHEAD_VAR`, by default `var` in the project."""
    return project() / (os.environ.get("BULKHEAD_VAR") or "var")
