from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contract.environment.environments import python_for
from contract.errors import BundleError, UnavailableError
from contract.files import sha256
from harness import PROJECT


def lock_of(text: str, directory: Path) -> tuple[Path, str]:
    path = directory / "lock.txt"
    path.write_text(text)
    return path, sha256(path)


def test_environment_beside_this_one_is_copied_when_it_has_the_lock(tmp_path: Path) -> None:
    lock, digest = lock_of((PROJECT / "requirements" / "serving.txt").read_text(), tmp_path)
    python = python_for(lock, digest, tmp_path / "environments")
    assert python == tmp_path / "environments" / digest / "bin" / "python"
    where = subprocess.run([python, "-c", "import numpy; print(numpy.__file__)"], capture_output=True, check=True)
    assert Path(where.stdout.decode()).is_relative_to(python.parents[1])


def made_beside(beside: Path, text: str) -> Path:
    """An environment `serving` with one package, as `make` leaves it."""
    package = beside / "serving" / "lib" / "module.py"
    package.parent.mkdir(parents=True, exist_ok=True)
    package.write_text(text)
    (beside / "serving" / "installed.txt").write_text(text)
    return package


def test_copy_stays_as_it_was_when_the_environment_beside_this_one_gets_another_lock(tmp_path: Path) -> None:
    package = made_beside(tmp_path, "old")
    lock, digest = lock_of("old", tmp_path)
    made = python_for(lock, digest, tmp_path / "environments", tmp_path).parents[1]
    package.unlink()
    made_beside(tmp_path, "new")
    assert python_for(lock, digest, tmp_path / "environments", tmp_path).parents[1] == made
    assert (made / "lib" / "module.py").read_text() == "old"
    assert [path.name for path in (tmp_path / "environments").iterdir()] == [digest]


def test_age_of_an_environment_is_the_time_since_its_last_use(tmp_path: Path) -> None:
    made_beside(tmp_path, "same")
    lock, digest = lock_of("same", tmp_path)
    made = python_for(lock, digest, tmp_path / "environments", tmp_path).parents[1]
    os.utime(made, (0, 0))
    assert python_for(lock, digest, tmp_path / "environments", tmp_path).parents[1] == made
    assert made.stat().st_mtime > 0


def test_environment_that_is_remade_while_it_is_copied_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_beside(tmp_path, "# nothing at all\n")
    lock, digest = lock_of("# nothing at all\n", tmp_path)
    link = os.link

    def remade(source: str, target: str) -> None:
        link(source, target)
        if (tmp_path / "serving").exists():
            (tmp_path / "serving").rename(tmp_path / "old")  # as make does

    monkeypatch.setattr(os, "link", remade)
    shutil.copytree(Path(sys.prefix).parent / "uv", tmp_path / "uv", symlinks=True)
    made = python_for(lock, digest, tmp_path / "environments", tmp_path).parents[1]
    assert not (made / "lib" / "module.py").exists()
    assert (made / "installed.txt").read_text() == lock.read_text()


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
    assert not list((tmp_path / "environments").iterdir())


def test_lock_that_the_manifest_does_not_name_is_refused(tmp_path: Path) -> None:
    lock, digest = lock_of("", tmp_path)
    lock.write_text("changed\n")
    with pytest.raises(BundleError, match=r"lock\.txt is missing, or has another digest"):
        python_for(lock, digest, tmp_path / "environments")
