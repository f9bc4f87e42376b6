"""Each page docs/how-to/add-a-….md, carried out: its diffs applied to a copy of the project, and its blocks of Python run there.

A diff of a page has no line numbers. Between `@@` lines it shows what stands in the file, once, and what shall stand there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from docs import code_blocks
from harness import PROJECT
from harness import slice as sliced

PAGES = [page for page in code_blocks.PAGES if page.startswith(code_blocks.ADDITIONS)]
COUNTS = PROJECT / "docs" / "reference" / "adding.md"
MOST = 3  # source files that an addition touches
NO_SOURCES = ("tests/", "docs/", "params.yaml", "dvc.yaml")


def blocks(page: str, language: str) -> list[str]:
    return [block.text for block in code_blocks.blocks(page, language)]


def hunks(diffs: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """The file of each hunk of a page's diffs, the text before, empty for a new file, and the text after."""
    for diff in diffs:
        for part in re.split(r"^(?=--- )", diff, flags=re.MULTILINE)[1:]:
            head, *bodies = re.split(r"^@@.*\n", part, flags=re.MULTILINE)
            for lines in (body.splitlines() for body in bodies):
                before, after = (
                    "".join(f"{line[1:]}\n" for line in lines if line[:1] != left_out) for left_out in ("+", "-")
                )
                yield head.split()[-1], before, after


def sources(diffs: Iterable[str]) -> set[str]:
    """The source files that a page's diffs touch."""
    return {file for file, _, _ in hunks(diffs) if not file.startswith(NO_SOURCES)}


def apply(diffs: Iterable[str], project: Path) -> None:
    """Apply a page's diffs to the project."""
    for file, before, after in hunks(diffs):
        path = project / file
        text = path.read_text() if before else ""
        assert not before or text.count(before) == 1, f"{file} has {text.count(before)} times\n{before}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(before, after) if before else after)


def counted() -> dict[str, int]:
    """By page of the table of counts: how many source files it says an addition touches."""
    rows = re.findall(r"^\|.*\]\(\.\./how-to/(add-a-[\w-]+\.md)\) *\| *(\d+) *\|", COUNTS.read_text(), re.MULTILINE)
    return {page: int(count) for page, count in rows}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: Path(page).stem)
def test_addition_works_when_a_page_is_followed(page: str, tmp_path: Path) -> None:
    checks = blocks(page, "python")
    assert checks, "the page has no block of Python that tries the addition"
    sliced.copy_project(tmp_path)
    apply(blocks(page, "diff"), tmp_path)
    for check in checks:
        subprocess.run([sys.executable, "-c", check], cwd=tmp_path, env=os.environ | {"PYTHONPATH": "."}, check=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: Path(page).stem)
def test_page_touches_as_many_source_files_as_the_table_says(page: str) -> None:
    touched = sources(blocks(page, "diff"))
    assert 0 < len(touched) <= MOST, touched
    assert counted().get(Path(page).name) == len(touched), f"{COUNTS.name} has another count than {sorted(touched)}"


DIFF = """\
--- a.py
+++ a.py
@@
 ONE = 1
-TWO = 3
+TWO = 2
@@
+
+THREE = 3
 END = 4
--- /dev/null
+++ package/b.py
@@
+NEW = 1
"""


def test_diff_of_a_page_changes_a_file_and_makes_another(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("ONE = 1\nTWO = 3\n\nEND = 4\n")
    apply([DIFF], tmp_path)
    assert (tmp_path / "a.py").read_text() == "ONE = 1\nTWO = 2\n\n\nTHREE = 3\nEND = 4\n"
    assert (tmp_path / "package" / "b.py").read_text() == "NEW = 1\n"
    assert sources([DIFF]) == {"a.py", "package/b.py"}


def test_diff_of_a_page_is_refused_when_the_file_has_changed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("ONE = 0\n")
    with pytest.raises(AssertionError, match=r"a\.py has 0 times"):
        apply([DIFF], tmp_path)
