"""What is installed where the server runs, rather than what the lock says."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from contract.environment.pruning import UNUSED
from harness import PROJECT

FORBIDDEN = (
    "apache-airflow",
    "dvc",
    "great-expectations",
    "scikit-learn",
    "pandas",
    "polars",
    "duckdb",
    "xgboost",
    "xgboost-cpu",
    "onnxmltools",
)
PACKAGE = PROJECT / "bentos"


def test_nothing_of_training_is_installed() -> None:
    # pytest alone comes from a directory beside the environment
    own = [path for path in sys.path if path.startswith(sys.prefix)]
    installed = {re.sub(r"[-_.]+", "-", entry.name).lower() for entry in metadata.distributions(path=own)}
    assert {"bentoml", "onnxruntime", "hpack", "uvloop", "httptools"} <= installed
    assert not installed & set(FORBIDDEN)


def test_these_tests_run_in_a_pruned_environment() -> None:
    (packages,) = Path(sys.prefix).glob("lib/python3*/site-packages")
    assert not [path for pattern in UNUSED for path in packages.glob(pattern)]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_module_imports_pickle(path: Path) -> None:
    assert not re.search(r"^\s*(import|from)\s+(pickle|cloudpickle|dill|joblib|marshal)\b", path.read_text(), re.M)


@pytest.mark.parametrize(
    ("process", "without"),
    [
        ("service", {"numpy", "onnxruntime", "hpack", "uvicorn"}),
        ("worker", {"uvicorn", "bentoml", "_bentoml_impl", "starlette", "opentelemetry"}),
    ],
)
def test_supervisor_and_worker_load_nothing_of_each_others(process: str, without: set[str]) -> None:
    program = f"import sys, bentos.{process}; print(sorted({without} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
