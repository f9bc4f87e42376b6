"""Files that appear whole, the size of a tree, and who can write to a private directory."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from contract.files import atomic_path, private_directory, tree_bytes, write_atomically


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


@pytest.mark.parametrize("umask", [0, 0o022])
def test_private_directory_is_nobody_elses_and_neither_is_its_parent(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        private_directory(tmp_path / "var" / "keys")
        assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("var", "var/keys")] == [0o700, 0o700]
        (tmp_path / "var").chmod(0o777)
        private_directory(tmp_path / "var" / "fleet")
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("var", "var/fleet")] == [0o755, 0o700]


def test_two_that_write_a_file_at_once_do_not_meet(tmp_path: Path) -> None:
    # One process, as two containers that share a directory may each have a process of that number.
    path = tmp_path / "ledger.json"
    with atomic_path(path) as ours:
        ours.write_text("ours, and longer")
        with atomic_path(path) as theirs:
            theirs.write_text("theirs")
        assert (ours.read_text(), path.read_text()) == ("ours, and longer", "theirs")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("ledger.json", "ours, and longer")]


def test_what_a_killed_writer_left_is_removed_by_the_next_one_of_the_same_file(tmp_path: Path) -> None:
    program = "import os, sys; from pathlib import Path; from contract.files import atomic_path\n"
    program += "with atomic_path(Path(sys.argv[1])) as part: part.write_text('half'); os.kill(os.getpid(), 9)"
    for name in ("state[1].json", "other.json"):
        subprocess.run(
            [sys.executable, "-c", program, tmp_path / name],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
    assert len([*tmp_path.glob(".*.part")]) == 2
    write_atomically(tmp_path / "state[1].json", b"{}")
    (left,) = tmp_path.glob(".*.part")
    assert left.name.startswith(".other.json.")


def test_part_is_private_from_its_beginning_when_the_file_is_to_be(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "key", mode=0o600) as part:
        assert part.stat().st_mode & 0o777 == 0o600
        part.write_text("secret")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_full_disk_is_named_by_the_file_that_was_to_be_written(tmp_path: Path) -> None:
    def write(error: OSError) -> str:
        with pytest.raises(OSError) as caught, atomic_path(tmp_path / "state.json"):
            raise error
        return str(caught.value)

    full = "No space left on device"
    assert write(OSError(errno.ENOSPC, full)) == f"[Errno {errno.ENOSPC}] {full}: '{tmp_path}/state.json'"
    polars = f"{full} (os error 28)"
    assert write(OSError(polars)) == polars  # `command_line` knows a failure of a library by its text
