"""`python -m pipelines` keeps its exit code and its files when an output of it is closed, full, or read by nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import PROJECT

DRAFT = ("draft", "t.csv", "--target", "y", "--out", "p.yaml")
LOST = ["2>&-", "2>/dev/full"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A directory with a table that can be drafted."""
    rows = [f"{number},{number * 37 % 11},{'no' if number % 3 else 'yes'}" for number in range(300)]
    (tmp_path / "t.csv").write_text("\n".join(["x,z,y", *rows, ""]))
    return tmp_path


def _run(directory: Path, words: tuple[str, ...], redirected: str = "", **outputs: Any) -> Any:
    """Run the real command in a directory, with outputs as a shell redirects them."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, "-m", "pipelines", *words],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(PROJECT), "BULKHEAD_VAR": str(directory / "var")},
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | outputs,
    )


@pytest.mark.parametrize("redirected", LOST)
def test_command_works_when_its_summary_has_no_place(table: Path, redirected: str) -> None:
    done = _run(table, DRAFT, redirected)
    assert (done.stdout, done.returncode) == ("", 0)
    assert "target:" in (table / "p.yaml").read_text()


def test_command_works_when_nobody_reads_its_summary(table: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as unread:
        done = _run(table, DRAFT, stderr=unread)
    assert (done.stdout, done.returncode) == ("", 0)
    assert "target:" in (table / "p.yaml").read_text()


@pytest.mark.parametrize("redirected", [">&-", ">/dev/full"])
def test_command_works_when_its_empty_output_has_no_place(table: Path, redirected: str) -> None:
    done = _run(table, DRAFT, redirected)
    assert ("p.yaml" in done.stderr, done.returncode) == (True, 0)


@pytest.mark.parametrize("redirected", [*LOST, ">&-", ">/dev/full"])
@pytest.mark.parametrize("words", [("draft", "t.csv", "--target", "nope"), ("declare",)], ids=["draft", "declare"])
def test_failure_keeps_its_code_when_an_output_has_no_place(
    table: Path, words: tuple[str, ...], redirected: str
) -> None:
    done = _run(table, words, redirected)
    assert (done.stdout, done.returncode) == ("", 78)
    assert f"{words[0]} stopped: " in done.stderr or redirected in LOST


def test_full_disk_under_the_output_is_told_once(table: Path) -> None:
    done = _run(table, DRAFT[:-2], ">/dev/full")
    assert ("No space left" in done.stderr, done.returncode) == (True, 75)
    assert done.stderr.count("No space left") == 1
