"""A DVC remote in S3 over a bad network: what is pushed and pulled has the right bytes, or the command says that it failed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.errors import EXIT_RETRY
from harness import object_stores
from tests.faults import flaky
from tests.functional.commands import run

MODEL = Path("models/boosted/model.onnx")
KEPT = ("data", "models")
VERIFY = ("python", "-m", "pipelines", "verify")


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    with object_stores.s3() as environment:
        yield environment


@pytest.fixture
def kept(project: Path, tmp_path: Path, s3: dict[str, str]) -> Path:
    """A copy of the project that has an empty remote in S3."""
    copy = tmp_path / "project"
    shutil.copytree(project, copy, symlinks=True, ignore=shutil.ignore_patterns("pytest*"))
    bucket = _bucket(copy)
    _system(s3).mkdir(bucket)
    for command in (["add", "--default", "bucket", f"s3://{bucket}/kept"], ["modify", "bucket", "verify", "true"]):
        assert run(copy, "dvc", "remote", *command).returncode == 0
    return copy


def _system(environment: dict[str, str]) -> Any:
    import s3fs

    return s3fs.S3FileSystem(
        key=environment["AWS_ACCESS_KEY_ID"],
        secret=environment["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        skip_instance_cache=True,
        use_listings_cache=False,
    )


def _port(environment: dict[str, str]) -> int:
    return int(environment["AWS_ENDPOINT_URL"].rpartition(":")[2])


def _bucket(project: Path) -> str:
    return project.parent.name.replace("_", "-").strip("-")


def _bytes(project: Path) -> dict[Path, bytes]:
    files = (path for name in KEPT for path in (project / name).rglob("*") if path.is_file())
    return {path.relative_to(project): path.read_bytes() for path in files}


def _digest(project: Path) -> str:
    """Of the model, as the list of its directory names it."""
    stages = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    (listed,) = (out["md5"] for stage in stages.values() for out in stage["outs"] if out["path"] == str(MODEL.parent))
    entries = json.loads((project / ".dvc/cache/files/md5" / listed[:2] / listed[2:]).read_text())
    return next(entry["md5"] for entry in entries if entry["relpath"] == MODEL.name)


def _until_it_says_that_it_is_done(project: Path, verb: str, environment: dict[str, str]) -> None:
    for _ in range(10):
        if run(project, "dvc", verb, "--quiet", **environment).returncode == 0:
            return
    pytest.fail(f"dvc {verb} failed ten times")


def test_pushed_and_pulled_bytes_are_right_over_a_bad_network(kept: Path, s3: dict[str, str]) -> None:
    before = _bytes(kept)
    dice = flaky.Dice(seed=3, longest=100_000)
    with flaky.relay(_port(s3), dice) as port:
        bad = s3 | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        _until_it_says_that_it_is_done(kept, "push", bad)
        pushed = dice.thrown
        shutil.rmtree(kept / ".dvc" / "cache")
        for name in KEPT:
            shutil.rmtree(kept / name)
        _until_it_says_that_it_is_done(kept, "pull", bad)
    assert 0 < pushed < dice.thrown
    done = run(kept, *VERIFY, **s3)
    assert (done.returncode, "match dvc.lock" in done.stdout) == (0, True), done.stderr
    assert _bytes(kept) == before


def test_object_that_was_cut_is_not_pulled_and_is_repaired(kept: Path, s3: dict[str, str]) -> None:
    assert run(kept, "dvc", "push", "--quiet", **s3).returncode == 0
    system, digest = _system(s3), _digest(kept)
    (name,) = (found for found in system.find(_bucket(kept)) if found.endswith(f"{digest[:2]}/{digest[2:]}"))
    good = system.cat(name)
    system.pipe(name, good[: len(good) // 2])
    copy = kept.with_name("other")
    shutil.copytree(kept, copy, ignore=shutil.ignore_patterns("cache", "models"))
    assert run(copy, "dvc", "pull", "--quiet", **s3).returncode != 0
    assert not (copy / MODEL).exists()
    done = run(kept, *VERIFY, **s3)
    assert (done.returncode, f"repaired: {MODEL} (remote)" in done.stdout) == (0, True), done.stderr
    assert system.cat(name) == good


def test_remote_that_does_not_answer_can_be_retried_and_nothing_is_taken_for_lost(
    kept: Path, s3: dict[str, str]
) -> None:
    assert run(kept, "dvc", "push", "--quiet", **s3).returncode == 0
    before = _system(s3).find(_bucket(kept))
    done = run(kept, *VERIFY, **s3 | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"})
    assert (done.returncode, "the remote of DVC does not answer" in done.stderr) == (EXIT_RETRY, True), done.stderr
    assert _system(s3).find(_bucket(kept)) == before
    assert (kept / MODEL).exists()
