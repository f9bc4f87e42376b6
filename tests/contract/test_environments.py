from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from contract.environments import python_for
from contract.errors import BundleError, UnavailableError
from contract.files import sha256

PROJECT = Path(__file__).parents[2]


def lock_of(text: str, directory: Path) -> tuple[Path, str]:
    path = directory / "lock.txt"
    path.write_text(text)
    return path, sha256(path)


def test_environment_beside_this_one_serves_when_it_has_the_lock(tmp_path: Path) -> None:
    lock = lock_of((PROJECT / "requirements" / "serving.txt").read_text(), tmp_path)
    assert python_for(*lock, tmp_path / "environments") == Path(sys.prefix).parent / "serving" / "bin" / "python"


def test_environment_is_built_once_when_the_bundle_has_another_lock(tmp_path: Path) -> None:
    lock = lock_of("# nothing at all\n", tmp_path)
    python = python_for(*lock, tmp_path / "environments")
    packages = [sys_path.name for sys_path in python.parents[1].glob("lib/*/site-packages/*.dist-info")]
    assert packages == []
    assert subprocess.run([python, "-c", "print('works')"], capture_output=True, check=True).stdout == b"works\n"
    made = python.lstat().st_mtime_ns
    assert python_for(*lock, tmp_path / "environments") == python
    assert python.lstat().st_mtime_ns == made


def test_packages_that_cannot_be_had_leave_no_environment(tmp_path: Path) -> None:
    lock = lock_of("no-such-package-anywhere==1 --hash=sha256:" + "0" * 64 + "\n", tmp_path)
    with pytest.raises(UnavailableError, match="no-such-package-anywhere"):
        python_for(*lock, tmp_path / "environments")
    assert not list(tmp_path.glob("environments/*/installed.txt"))


def test_lock_that_the_manifest_does_not_name_is_refused(tmp_path: Path) -> None:
    lock, digest = lock_of("", tmp_path)
    lock.write_text("changed\n")
    with pytest.raises(BundleError, match=r"lock\.txt is not the lock"):
        python_for(lock, digest, tmp_path / "environments")
