"""A stage of dvc.yaml depends on every module of ours that it runs, and on no other: a change of code leaves no stale output.

The same is true of the keys of `params.yaml` that its own folder reads.

Exempt: `declare` and `collect`, for a collected month is immutable; `champion`, which runs each time; and of every stage the command line
(`pipelines/__main__.py` and what it alone imports, `contract/command_line.py`), `contract/errors.py` and `pipelines/paths.py`, which no
byte of an output comes from: a stage that writes to another path has other `outs`. What parses `params.yaml` is not exempt, for it has
the defaults of keys that are not there.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

from harness import PROJECT
from pipelines.stages.declare.stage import KEYS

OURS = ("contract", "pipelines", "bentos", "fleet")
EXEMPT = {"contract/command_line.py", "contract/errors.py", "pipelines/paths.py"}
STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
READ = re.compile(r"(?<![\w.])params\.((?:data|train)\.\w+|\w+)")
SECTIONS = yaml.safe_load((PROJECT / "params.yaml").read_text()).keys()
# Where a partition is encoded changes no byte; another family is another model, on which `evaluate` depends.
WITHOUT_EFFECT = {"train.cluster", "train.family"}
JUDGED = [name for name in STAGES if name not in ("declare", "collect", "champion")]


def _source(name: str) -> Path | None:
    """The file of a module of ours; None for what is no module, and for those of others."""
    if name.split(".")[0] not in OURS:
        return None
    path = PROJECT.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _imported(path: Path) -> set[str]:
    """All names that may be modules, imports inside of functions among them, and the packages above each."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports by a relative name"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found | {name.rsplit(".", depth)[0] for name in found for depth in range(1, name.count(".") + 1)}


def closure(module: str) -> set[str]:
    """The files of ours, relative to the project, that run when this module is imported and used; empty ones left out."""
    found: set[Path] = set()
    open_names = {module}
    while open_names:
        path = _source(open_names.pop())
        if path is not None and path not in found:
            found.add(path)
            open_names |= _imported(path)
    return {path.relative_to(PROJECT).as_posix() for path in found if _has_code(path)} - EXEMPT


def _has_code(path: Path) -> bool:
    return any(not isinstance(node, ast.Expr | ast.ImportFrom) for node in ast.parse(path.read_text()).body)


def _covers(dependency: str, file: str) -> bool:
    return file == dependency or file.startswith(f"{dependency}/")


@pytest.mark.parametrize("stage", JUDGED)
def test_stage_depends_on_all_code_that_it_runs(stage: str) -> None:
    dependencies = STAGES[stage]["deps"]
    needed = closure(f"pipelines.stages.{stage}.stage")
    assert f"pipelines/stages/{stage}/stage.py" in needed
    missing = sorted(file for file in needed if not any(_covers(dependency, file) for dependency in dependencies))
    assert not missing, f"add to the deps of {stage} in dvc.yaml"


@pytest.mark.parametrize("stage", JUDGED)
def test_stage_depends_on_no_code_that_it_does_not_run(stage: str) -> None:
    needed = closure(f"pipelines.stages.{stage}.stage")
    code = [dependency for dependency in STAGES[stage]["deps"] if dependency.split("/")[0] in OURS]
    idle = sorted(dependency for dependency in code if not any(_covers(dependency, file) for file in needed))
    assert not idle or stage == "bundle", (
        f"take from the deps of {stage} in dvc.yaml"
    )  # a bundle carries all of bentos/


@pytest.mark.parametrize("stage", JUDGED)
def test_stage_depends_on_the_params_that_it_reads(stage: str) -> None:
    sources = (PROJECT / "pipelines" / "stages" / stage).rglob("*.py")
    found = {key for path in sources for key in READ.findall(path.read_text())}
    read = {key.partition(".model_")[0].rstrip("_") for key in found} - WITHOUT_EFFECT  # `model_copy` reads all of it
    listed = {*STAGES[stage].get("params", ())}
    listed |= {key for path, keys in KEYS.items() if str(path) in STAGES[stage]["deps"] for key in keys}
    missing = sorted(
        key for key in read if key.split(".")[0] in SECTIONS and not any(_overlap(key, own) for own in listed)
    )
    assert read
    assert not missing, f"add to the params of {stage} in dvc.yaml"


def _overlap(key: str, other: str) -> bool:
    return key == other or key.startswith(f"{other}.") or other.startswith(f"{key}.")


def test_closure_follows_imports_inside_functions_and_of_submodules() -> None:
    found = closure("pipelines.stages.evaluate.stage")
    assert {
        "contract/model/encoder.py",
        "contract/model/transforms.py",
        "contract/model/row_program.py",
    } <= found  # through the predictor
    assert "pipelines/params/features/transforms.py" in found
    assert not any(file.startswith(("pipelines/stages/train/", "bentos/", "fleet/")) for file in found)
