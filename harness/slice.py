"""A two-month slice of the real pipeline, in a directory of its own: the working tree, committed there, and shortened params.

python -m harness.slice DIRECTORY    # in the pipeline environment: make it, run `dvc repro`, keep what is unchanged
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from contract.files import private_directory
from harness import PROJECT, files

MONTHS = ["2013-03", "2013-04"]
# The differences from params.yaml: two months leave no whole month for early stopping.
CHANGES = {
    "data.months": "[" + ", ".join(f'"{month}"' for month in MONTHS) + "]",
    "split": "{kind: temporal, holdout: 1mo, validation: 10d}",
}


def copy_project(directory: Path) -> None:
    """Copy the tracked and the new files of the working tree, with the slice's params, and commit them there."""
    kept = set(files()) - {"dvc.lock"}
    for name in kept:
        _copy_if_changed(PROJECT / name, directory / name)
    _shorten(directory / "params.yaml")
    if not (directory / ".git").exists():
        _git(directory, "init", "--quiet", "--initial-branch=main")
    for name in set(_git(directory, "ls-files", "-z").split("\0")) - kept - {"", "dvc.lock"}:
        (directory / name).unlink(missing_ok=True)  # deleted since the previous copy
    _git(directory, "add", "--all")
    _git(directory, "commit", "--quiet", "--allow-empty", "--message=A slice for the tests")


def prepared(directory: Path) -> None:
    """Make a slice with the results of `dvc repro`: a copy of BULKHEAD_TEST_SLICE, made by `make test`, else computed here."""
    if made := os.environ.get("BULKHEAD_TEST_SLICE"):
        shutil.copytree(made, directory, symlinks=True, dirs_exist_ok=True, ignore=_sockets)
    else:
        copy_project(directory)
        repro(directory)


def _sockets(directory: str, names: list[str]) -> list[str]:
    """Return the sockets of a fleet that ran there, which cannot be copied."""
    return [name for name in names if Path(directory, name).is_socket()]


def repro(directory: Path, *targets: str) -> None:
    """Run `dvc repro` there, with this interpreter's environment and a bundle store of its own."""
    private_directory(directory / "var" / "dvc-site" / "repo")  # which DVC would make world-writable
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "BULKHEAD_STORE": str(directory / "store"),
        "BULKHEAD_TRAINING_WEIGHT": "none",  # others run beside it
        "DVC_SITE_CACHE_DIR": str(directory / "var" / "dvc-site"),
    }
    subprocess.run(["dvc", "--wait-for-lock", "repro", *targets], cwd=directory, env=environment, check=True)


def _shorten(path: Path) -> None:
    lines = path.read_text().splitlines()
    for key, value in CHANGES.items():
        leaf = key.split(".")[-1]
        matches = [index for index, line in enumerate(lines) if line.strip().startswith(f"{leaf}:")]
        indent = lines[matches[0]][: len(lines[matches[0]]) - len(lines[matches[0]].lstrip())]
        lines[matches[0]] = f"{indent}{leaf}: {value}"
    path.write_text("\n".join(lines) + "\n")


def _copy_if_changed(source: Path, target: Path) -> None:
    # An unchanged file keeps its time of modification, by which DVC finds its digest without reading it.
    if target.exists() and target.read_bytes() == source.read_bytes():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def _git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=slice", "-c", "user.email=slice@localhost"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=directory, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    copy_project(target)
    repro(target)
