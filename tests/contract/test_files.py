"""What is counted as the size of a tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.files import tree_bytes


def test_size_of_a_tree_is_that_of_its_files_and_links(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(b"1" * 1000)
    (tmp_path / "a" / "b" / "two").write_bytes(b"2" * 24)
    (tmp_path / "a" / "link").symlink_to("b")  # its size is that of its target's name
    assert tree_bytes(tmp_path / "a") == 1025
    assert tree_bytes(tmp_path / "a" / "one") == 1000


def test_size_of_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tree_bytes(tmp_path / "nothing")
