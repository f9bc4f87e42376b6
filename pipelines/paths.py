"""Where the stages meet: the files that `dvc.yaml` names, relative to the workspace; and what is kept beside them."""

import os
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


def project() -> Path:
    """Where relative paths begin: the working directory, or of an experiment that DVC runs in a copy, the project that it is of."""
    copies = (parent for parent in Path.cwd().parents if parent.parts[-3:] == (".dvc", "tmp", "exps"))
    return next((copy.parents[2] for copy in copies), Path())


def var_directory() -> Path:
    """What is kept beside the project and by no version control: `BULKHEAD_VAR`; `var` in the project by default."""
    return project() / os.environ.get("BULKHEAD_VAR", "var")
