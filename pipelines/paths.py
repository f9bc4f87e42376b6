"""Where the stages meet: the files that `dvc.yaml` names, relative to the workspace."""

from pathlib import Path

PARTITIONS = Path("data/partitions")
ACCEPTED = Path("data/accepted")
QUARANTINED = Path("data/quarantine")
FEATURES = Path("data/features")
PARTS = FEATURES / "parts.parquet"
COUNTS = FEATURES / "counts.json"
MODELS = Path("models")
BOOSTED = MODELS / "boosted"
LINEAR = MODELS / "linear"
CHAMPION = MODELS / "champion"
TRAINING = MODELS / "training.json"
APPROVAL = MODELS / "approval.json"
REPORTS = Path("reports")
VALIDATION = REPORTS / "validation.json"
SCREENING = REPORTS / "screening.json"
DATA_DOCS = REPORTS / "data_docs"
PLOTS = REPORTS / "plots"
EVALUATION = REPORTS / "evaluation.html"
REHEARSAL = REPORTS / "rehearsal.json"
MONITOR = REPORTS / "monitor.json"
METRICS = Path("metrics.json")
BUNDLE = Path("build/bundle")


def partition(month: str) -> Path:
    """The Parquet file of a month such as `2013-01`."""
    return PARTITIONS / f"{month}.parquet"


def accepted(month: str) -> Path:
    """The rows of a month that `validate` let through: what every later stage reads."""
    return ACCEPTED / f"{month}.parquet"
