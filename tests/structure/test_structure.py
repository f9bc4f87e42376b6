"""What stays true of the tree itself."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from harness import PROJECT
from pipelines.__main__ import STAGES
from pipelines.params.params import Data
from pipelines.stages.declare.stage import KEYS

PLANES = ("contract", "pipelines", "bentos", "fleet", "dags")
SOURCES = [path for plane in PLANES for path in sorted((PROJECT / plane).rglob("*.py"))]


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True)
    return [PROJECT / name for name in listed.stdout.split()]


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module or "")
    return names


def test_no_plane_imports_a_pickler() -> None:
    assert len(SOURCES) > 40
    picklers = {"pickle", "joblib", "cloudpickle", "dill"}
    offenders = {
        path: found for path in SOURCES if (found := {name.split(".")[0] for name in _imports(path)} & picklers)
    }
    assert not offenders


def test_words_go_to_stderr_through_the_one_function_that_no_full_disk_or_closed_output_ends() -> None:
    programs = SOURCES + sorted((PROJECT / "airflow_local").rglob("*.py"))
    assert {path.relative_to(PROJECT).as_posix() for path in programs if "sys.stderr" in path.read_text()} == {
        "contract/command_line.py",
        "dags/operations/watch.py",  # runs with any Python, without our packages
        "fleet/control/reconciler.py",  # turns it into a log
        "pipelines/models/progress.py",  # asks whether it is a terminal
    }


def test_no_folder_of_source_files_holds_more_than_twelve_entries() -> None:
    entries: dict[Path, set[str]] = defaultdict(set)
    for path in _tracked():
        for below, folder in pairwise([path, *path.relative_to(PROJECT).parents]):
            entries[Path(folder)].add(below.name)
    sources = {path.relative_to(PROJECT).parent for path in _tracked() if path.suffix == ".py"}
    assert len(sources) > 50
    assert not {str(folder): len(entries[folder]) for folder in sources if len(entries[folder]) > 12}


def test_stages_never_import_each_other() -> None:
    root = PROJECT / "pipelines" / "stages"
    folders = {path.name for path in root.iterdir() if (path / "stage.py").exists()}
    assert folders == set(STAGES)
    for stage in folders:
        for path in (root / stage).rglob("*.py"):
            imported = {name.split(".")[2] for name in _imports(path) if name.startswith("pipelines.stages.")}
            assert imported <= {stage}, f"{path} imports other stages"


def test_every_stage_of_dvc_yaml_is_a_command_that_depends_on_its_own_code() -> None:
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    assert list(stages) == [
        "declare",
        "collect",
        "validate",
        "features",
        "screen",
        "tune",
        "train",
        "staleness",
        "champion",
        "evaluate",
        "bundle",
    ]
    for name, stage in stages.items():
        stage = stage.get("do", stage)
        assert stage["cmd"].startswith(f"python -m pipelines {name}")
        # A collected month, and what it depends on, is immutable; the champion is read anew each time.
        if name not in ("declare", "collect", "champion"):
            assert {f"pipelines/stages/{name}", "pipelines"} & set(stage["deps"]), name


def test_every_param_of_the_table_invalidates_some_stage() -> None:
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    stages = [stage.get("do", stage) for stage in yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"].values()]
    listed = {key for stage in stages for key in stage.get("params", [])}
    written = {
        key for path, keys in KEYS.items() for key in keys if any(str(path) in stage["deps"] for stage in stages)
    }
    assert set(params) - {"costs"} == {key.split(".")[0] for key in listed | written}  # prices change no result
    assert {f"data.{name}" for name in Data.model_fields} <= listed | written


def test_lock_for_gpus_differs_from_the_pipelines_by_xgboosts_wheel_alone() -> None:
    cpu, gpu = (
        set(re.findall(r"^(\S+==\S+)", (PROJECT / "requirements" / name).read_text(), re.MULTILINE))
        for name in ("pipeline.txt", "pipeline-gpu.txt")
    )
    assert [name.split("==")[0] for name in cpu - gpu] == ["xgboost-cpu"]
    assert [name.split("==")[0] for name in gpu - cpu] == ["nvidia-nccl-cu12"]


@pytest.mark.parametrize("lock", sorted((PROJECT / "requirements").glob("*.txt")), ids=lambda path: path.stem)
def test_locks_have_hashes_and_name_no_host(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "--index" not in text
    for requirement in re.split(r"\n(?=\S)", text.strip()):
        assert re.search(r"==\S+", requirement), requirement
        assert "--hash=sha256:" in requirement, requirement
