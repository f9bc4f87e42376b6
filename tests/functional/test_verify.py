"""Bytes that change by themselves where DVC keeps them: found, named and repaired before they are used."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.functional.commands import run

OUTPUT = Path("models/boosted/model.onnx")


@pytest.fixture
def kept(project: Path, tmp_path: Path) -> Path:
    """A copy of the project, with everything in its remote too."""
    copy = tmp_path / "project"
    shutil.copytree(project, copy, symlinks=True, ignore=shutil.ignore_patterns("pytest*"))
    assert run(copy, "dvc", "push", "--quiet").returncode == 0
    return copy


def _verify(project: Path) -> subprocess.CompletedProcess[str]:
    return run(project, "python", "-m", "pipelines", "verify")


def _object(project: Path, place: str, path: Path = OUTPUT) -> Path:
    """Where the cache (`.dvc/cache`) or the remote (`var/dvc-remote`) has an output, or the list of a directory."""
    stages = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    names = {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
    if str(path) in names:
        oid = names[str(path)]
    else:
        listed = yaml.safe_load(_object(project, place, path.parent).read_text())
        oid = next(entry["md5"] for entry in listed if entry["relpath"] == path.name)
    return project / place / "files" / "md5" / oid[:2] / oid[2:]


def _flip(path: Path) -> None:
    """Change one byte, and leave size, times and mode as they were: corruption, not an edit."""
    before = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.seek(before.st_size // 2)
        byte = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.chmod(before.st_mode)


def test_nothing_is_said_of_files_that_are_right(kept: Path) -> None:
    done = _verify(kept)
    assert (done.returncode, "match dvc.lock" in done.stdout) == (0, True)


@pytest.mark.parametrize("place", [".dvc/cache", "var/dvc-remote"])
@pytest.mark.parametrize("path", [OUTPUT, OUTPUT.parent, Path("data/partitions/2013-03.parquet")], ids=str)
def test_object_is_repaired_when_a_byte_of_it_has_flipped(kept: Path, place: str, path: Path) -> None:
    damaged = _object(kept, place, path)
    good = damaged.read_bytes()
    _flip(damaged)
    done = _verify(kept)
    assert done.returncode == 0, done.stderr
    assert f"repaired: {path} (" in done.stdout
    assert damaged.read_bytes() == good
    assert "match dvc.lock" in _verify(kept).stdout


def test_output_and_cache_are_repaired_from_the_remote_when_both_are_one_damaged_file(kept: Path) -> None:
    cached, good = _object(kept, ".dvc/cache"), (kept / OUTPUT).read_bytes()
    (kept / OUTPUT).unlink()
    os.link(cached, kept / OUTPUT)
    _flip(cached)
    done = _verify(kept)
    assert done.returncode == 0, done.stderr
    assert f"{OUTPUT} (cache, workspace)" in done.stdout
    assert (kept / OUTPUT).read_bytes() == cached.read_bytes() == good


def test_stock_dvc_uses_a_flipped_byte_and_verify_does_not(kept: Path) -> None:
    """The reason for all this; when it fails because DVC has learned to look, `verify` can go."""
    _flip(_object(kept, ".dvc/cache"))
    (kept / OUTPUT).unlink()
    good = _object(kept, "var/dvc-remote").read_bytes()
    assert run(kept, "dvc", "checkout", "--force", str(OUTPUT)).returncode == 0
    assert (kept / OUTPUT).read_bytes() != good
    assert _verify(kept).returncode == 0
    assert (kept / OUTPUT).read_bytes() == good


def test_lost_file_is_named_and_made_anew_when_no_good_copy_is_left(kept: Path) -> None:
    good = (kept / OUTPUT).read_bytes()
    shutil.rmtree(kept / "var" / "dvc-remote")
    _flip(_object(kept, ".dvc/cache"))
    if (kept / OUTPUT).read_bytes() == good:
        _flip(kept / OUTPUT)
    done = _verify(kept)
    assert done.returncode == 65
    assert str(OUTPUT) in done.stderr
    assert "dvc repro" in done.stderr
    assert not (kept / OUTPUT).exists()
    again = run(kept, "dvc", "repro", "bundle")
    assert again.returncode == 0, again.stderr
    assert (kept / OUTPUT).read_bytes() == good


def test_a_stage_refuses_what_changed_after_the_run_began(kept: Path) -> None:
    """An earlier model comes back from DVC's run cache, which nobody looked at before the run."""
    old, params = _object(kept, ".dvc/cache"), kept / "params.yaml"
    shallow = params.read_text()
    params.write_text(shallow.replace("max_depth: 8", "max_depth: 2"))
    assert params.read_text() != shallow
    assert run(kept, "dvc", "repro", "train").returncode == 0
    assert _verify(kept).returncode == 0
    assert old != _object(kept, ".dvc/cache")
    _flip(old)
    params.write_text(shallow)
    done = run(kept, "dvc", "repro", "champion")
    assert done.returncode != 0
    assert f"field '{OUTPUT.parent}': changed since it was written" in done.stderr
    assert "repaired: models/boosted/model.onnx (cache" in _verify(kept).stdout
    assert run(kept, "dvc", "repro", "champion").returncode == 0


def test_torn_lock_is_put_aside_and_written_again_without_work(kept: Path) -> None:
    lock = kept / "dvc.lock"
    whole = lock.read_bytes()
    lock.write_bytes(whole[: len(whole) // 2])
    done = _verify(kept)
    assert (done.returncode, "dvc.lock (torn" in done.stdout) == (0, True)
    made = run(kept, "dvc", "repro")
    assert made.returncode == 0, made.stderr
    assert re.findall("Running stage '(.*)'", made.stdout) == ["champion"]  # which asks the store each time
    assert yaml.safe_load(lock.read_bytes()) == yaml.safe_load(whole)
