from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from contract.errors import BundleError, UnavailableError
from contract.files import sha256
from contract.manifest import Manifest
from fleet.environments import python_for

PROJECT = Path(__file__).parents[2]


def bundle_with(lock: str, directory: Path) -> Manifest:
    directory.mkdir()
    (directory / "lock.txt").write_text(lock)
    return Manifest("m", "binary", {}, {"lock": "lock.txt", "lock_sha256": sha256(directory / "lock.txt")})


def test_projects_own_environment_serves_when_the_bundle_has_its_lock(tmp_path: Path) -> None:
    manifest = bundle_with((PROJECT / "requirements" / "serving.txt").read_text(), tmp_path / "bundle")
    python = python_for(tmp_path / "bundle", manifest, tmp_path / "environments")
    assert python == PROJECT / ".venv" / "serving" / "bin" / "python"


def test_environment_is_built_once_when_the_bundle_has_another_lock(tmp_path: Path) -> None:
    manifest = bundle_with("# nothing at all\n", tmp_path / "bundle")
    python = python_for(tmp_path / "bundle", manifest, tmp_path / "environments")
    packages = [sys_path.name for sys_path in python.parents[1].glob("lib/*/site-packages/*.dist-info")]
    assert packages == []
    assert subprocess.run([python, "-c", "print('works')"], capture_output=True, check=True).stdout == b"works\n"
    made = python.lstat().st_mtime_ns
    assert python_for(tmp_path / "bundle", manifest, tmp_path / "environments") == python
    assert python.lstat().st_mtime_ns == made


def test_packages_that_cannot_be_had_leave_no_environment(tmp_path: Path) -> None:
    manifest = bundle_with("no-such-package-anywhere==1 --hash=sha256:" + "0" * 64 + "\n", tmp_path / "bundle")
    with pytest.raises(UnavailableError, match="no-such-package-anywhere"):
        python_for(tmp_path / "bundle", manifest, tmp_path / "environments")
    assert not list(tmp_path.glob("environments/*/installed.txt"))


def test_lock_that_the_manifest_does_not_name_is_refused(tmp_path: Path) -> None:
    manifest = bundle_with("", tmp_path / "bundle")
    (tmp_path / "bundle" / "lock.txt").write_text("changed\n")
    with pytest.raises(BundleError, match=r"lock\.txt is not the lock"):
        python_for(tmp_path / "bundle", manifest, tmp_path / "environments")
