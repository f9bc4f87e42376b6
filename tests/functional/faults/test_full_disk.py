"""Stages and `publish` on a disk that is full, or may not be written to: one line, and whether another try can help."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import disks
from tests.functional.commands import run

COMMANDS = ("collect 2013-03", "validate", "publish")


@pytest.fixture
def small(project: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the project on a disk of its own."""
    with disks.needed(tmp_path / "disk", megabytes=100) as disk:
        copy = disk / "project"
        shutil.copytree(project, copy, symlinks=True, ignore=shutil.ignore_patterns("environments", "cache", "site"))
        yield copy


def refused(project: Path, command: str) -> tuple[int, str]:
    done = run(project, "python", "-m", "pipelines", *command.split())
    name, (*others, line) = command.split()[0], done.stderr.strip().splitlines()
    assert (line.startswith(f"{name} stopped: "), "Traceback" in done.stderr) == (True, False), done.stderr
    assert all("warning" in other.lower() for other in others), done.stderr
    return done.returncode, line


def test_another_try_is_asked_for_when_the_disk_is_full(small: Path) -> None:
    run(small, "true")  # makes DVC's directory
    with (small.parent / "ballast").open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space left"):
        while True:
            stream.write(bytes(4096))
    for command in COMMANDS:
        code, line = refused(small, command)
        assert (code, "No space left on device" in line) == (75, True), line


def test_the_place_is_named_when_the_disk_is_read_only(small: Path) -> None:
    run(small, "true")
    with disks.read_only(small.parent):
        for command in COMMANDS:
            code, line = refused(small, command)
            assert (code, "Read-only file system" in line) == (78, True), line
