"""`gates`: the checks of an evaluation, and of a published bundle again from the stored predictions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contract.bundle import evidence, manifest, signature
from contract.files import canonical_json
from contract.store.store import Store
from tests.functional.commands import run


@pytest.fixture(scope="module")
def copy(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("gates") / "project"
    shutil.copytree(project, directory, symlinks=True)
    return directory


@pytest.fixture(scope="module")
def digest(copy: Path) -> str:
    return Store(str(copy / "store"), private_key=signature.make_key()).put(copy / "build" / "bundle")


def _gates(copy: Path, *arguments: str) -> tuple[int, str]:
    done = run(copy, "python", "-m", "pipelines", "gates", *arguments)
    return done.returncode, done.stdout + done.stderr


def test_gates_of_the_last_evaluation_are_those_in_the_bundle(copy: Path) -> None:
    code, told = _gates(copy)
    assert code == 0, told
    assert "better than the prior: difference in ROC-AUC +0." in told
    assert "approved: 6 checks passed; no live model to compare with" in told
    evaluated = (copy / "models" / evidence.GATES).read_bytes()
    assert (copy / "build" / "bundle" / evidence.GATES).read_bytes() == evaluated
    claims = manifest.read(copy / "build" / "bundle")
    assert claims.gate == {name: json.loads(evaluated)[name] for name in claims.gate}
    assert "predictions" not in "".join(path for path in claims.files if path.endswith(".parquet"))


def test_published_gates_are_the_same_when_decided_again_without_the_workspace(copy: Path, digest: str) -> None:
    (copy / "models" / "predictions.parquet").unlink()
    (copy / "models" / "gates.json").unlink()
    code, told = _gates(copy, "--recompute", digest[:12])
    assert code == 0, told
    assert told.rstrip().endswith("stored predictions; every figure is the same")


def _with_gates(copy: Path, name: str, change: Callable[[dict[str, Any]], None]) -> str:
    """The digest of a published bundle whose gates are changed."""
    bundle = copy / name
    shutil.copytree(copy / "build" / "bundle", bundle)
    found = json.loads((bundle / evidence.GATES).read_bytes())
    change(found)
    (bundle / evidence.GATES).write_bytes(canonical_json(found))
    claims = json.loads((bundle / manifest.FILE_NAME).read_bytes())
    claims["files"] = manifest.tree_digests(bundle)
    (bundle / manifest.FILE_NAME).write_bytes(canonical_json(claims))
    return Store(str(copy / "store"), private_key=signature.make_key()).put(bundle)


def test_figure_that_was_changed_is_named(copy: Path, digest: str) -> None:
    def change(found: dict[str, Any]) -> None:
        found["checks"][0]["lower_bound"] += 1e-9

    other = _with_gates(copy, "changed", change)
    assert other != digest
    code, told = _gates(copy, "--recompute", other)
    assert code == 65
    assert "are not the same when they are decided again" in told
    assert "checks[0].lower_bound: 0." in told


def test_gates_of_another_format_are_not_called_different(copy: Path) -> None:
    earlier = _with_gates(copy, "earlier", lambda found: found.update(format=found["format"] - 1))
    code, told = _gates(copy, "--recompute", earlier)
    assert code == 65
    assert f"the gates of {earlier[:12]} have format" in told
    assert "run it of the commit that built the bundle" in told


def test_predictions_that_are_nowhere_are_named(copy: Path, digest: str) -> None:
    md5 = json.loads((copy / "build" / "bundle" / evidence.GATES).read_bytes())["predictions"]["md5"]
    stored = copy / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    stored.unlink()
    code, told = _gates(copy, "--recompute", digest)
    assert code == 65
    assert f"the predictions of {digest[:12]} (MD5 {md5}) are neither in the cache nor in the remote" in told
