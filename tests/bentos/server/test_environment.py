"""What is installed where the server runs, rather than what the lock says."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path

import pytest

from contract.environment.pruning import START, UNUSED, prune
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
    assert (packages / START).is_file()


def test_every_module_of_a_bundle_has_the_bytecode_of_its_source(bundle: Path) -> None:
    modules = [path for path in (bundle / "src").rglob("*.py") if path != bundle / "src" / "bentos" / "__init__.py"]
    assert len(modules) > 100
    for module in modules:
        # Source: PEP 552; flags 0b11 are a hash of the source, which Python checks.
        head = Path(util.cache_from_source(str(module))).read_bytes()[:16]
        assert head == util.MAGIC_NUMBER + b"\x03\0\0\0" + util.source_hash(module.read_bytes()), module


@pytest.mark.parametrize(
    "turns_on", ["worker._settle()", "service.Predictor.inner.prepare()"], ids=["worker", "supervisor"]
)
def test_server_collects_garbage_once_it_has_started(turns_on: str) -> None:
    program = f"""
import contextlib, gc
from bentos import {turns_on.partition(".")[0]}
gc.disable()
with contextlib.suppress(Exception):  # here is no bundle
    {turns_on}
print(gc.isenabled())
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_module_imports_pickle(path: Path) -> None:
    assert not re.search(r"^\s*(import|from)\s+(pickle|cloudpickle|dill|joblib|marshal)\b", path.read_text(), re.M)


@pytest.mark.parametrize(
    ("process", "without"),
    [
        ("service", {"numpy", "onnxruntime", "hpack", "uvicorn"}),
        (
            "worker",
            {
                "uvicorn",
                "bentoml",
                "_bentoml_impl",
                "starlette",
                "opentelemetry",
                "argparse",
                "email",
                "google.protobuf.text_format",
            },
        ),
    ],
)
def test_supervisor_and_worker_load_nothing_of_each_others(process: str, without: set[str]) -> None:
    program = f"import sys, bentos.{process}; print(sorted({without} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_supervisor_loads_nothing_of_what_no_server_uses(tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    prune(tmp_path)
    program = f"""
import sys
sys.orig_argv = ["python", "-m", "bentoml", "serve"]
exec({(packages / START).read_text()!r})
import bentoml_cli.cli, _bentoml_impl.server.serving, _bentoml_impl.server.allocator as allocator
print(allocator.ResourceAllocator().remaining_gpus, sorted({{"jinja2.environment", "httpx_ws._api"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0 []"
