"""A training that is killed goes on from its last sound checkpoint, and its model has the bytes of an uninterrupted one."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.errors import ConfigurationError, UnavailableError
from harness import PROJECT
from pipelines import paths
from pipelines.data.training import Rows
from pipelines.machine.blobs import Directory, open_blobs
from pipelines.models.engines.checkpoints import Checkpoint, Checkpoints, Series
from pipelines.models.engines.chunks import best, is_over, seed_of
from pipelines.models.families import boosting
from pipelines.models.family import Session
from pipelines.models.rounds import Round
from pipelines.params.params import Params
from pipelines.params.train import DartParams, GbtreeParams
from pipelines.stages.features import stage as features
from tests.contract.store.services import SERVICES, Service
from tests.pipelines.conftest import write_months
from tests.pipelines.models import toy

IDENTITY = {"settings": {"seed": 1, "constraints": (1, 0)}, "rows": "ab"}
CHUNK = 8


def _checkpoint(rounds: int) -> Checkpoint:
    return Checkpoint(tuple(1 / (index + 1) for index in range(rounds)), b"model\n%d" % rounds)


@pytest.fixture(scope="module", params=["directory", *SERVICES])
def service(request: pytest.FixtureRequest) -> Iterator[Service | None]:
    """An object store of each kind, and none, for a directory."""
    if request.param == "directory":
        yield None
        return
    with SERVICES[request.param]() as service:
        yield service


@pytest.fixture
def place(service: Service | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    if service is None:
        return open_blobs(str(tmp_path / "checkpoints"))
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    return open_blobs(f"{service.location}/{tmp_path.name}")


def test_newest_checkpoint_comes_back_and_only_two_are_kept(place: Any) -> None:
    checkpoints = Checkpoints(place)
    series, other = checkpoints.of(IDENTITY), checkpoints.of(IDENTITY | {"rows": "cd"})
    assert series.newest() == Checkpoint()
    for rounds in (8, 16, 24, 32):
        series.keep(_checkpoint(rounds))
    assert series.newest() == _checkpoint(32)
    assert other.newest() == Checkpoint()
    assert sorted(place.list()) == [f"{series.folder}/000024", f"{series.folder}/000032"]
    Checkpoints(place).clear()
    assert len(place.list()) == 2  # those of others stay
    checkpoints.clear()
    assert list(place.list()) == [f"{series.folder}/000032"]  # DVC may not have recorded the stage yet


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda content: content[:-3], "digest"),
        (lambda content: content[:30], "digest"),
        (lambda _: b"", "format"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "digest"),
        (lambda content: content.replace(b"checkpoint 1", b"checkpoint 0", 1), "format"),
    ],
    ids=["cut", "cut in its header", "empty", "flipped", "of an old version"],
)
def test_corrupt_checkpoint_is_named_and_the_one_before_is_used(
    place: Any, caplog: pytest.LogCaptureFixture, spoil: Any, reason: str
) -> None:
    series = Series(IDENTITY, place)
    for rounds in (8, 16):
        series.keep(_checkpoint(rounds))
    newest = f"{series.folder}/000016"
    place.write(newest, spoil(place.read(newest)))
    assert series.newest() == _checkpoint(8)
    assert newest in caplog.text
    assert reason in caplog.text


def test_foreign_checkpoint_is_not_used(place: Any, caplog: pytest.LogCaptureFixture) -> None:
    series, foreign = Series(IDENTITY, place), Series(IDENTITY | {"xgboost": "3.1.0"}, place)
    series.keep(_checkpoint(8))
    foreign.keep(_checkpoint(16))
    content = place.read(f"{foreign.folder}/000016")
    place.write(f"{series.folder}/000016", content)  # somebody copied it
    assert series.newest() == _checkpoint(8)
    assert "another version of the library" in caplog.text


def test_abandoned_checkpoints_go_with_those_of_the_next_training_that_ends(tmp_path: Path) -> None:
    place = Directory(tmp_path)
    for key, age in (("old/000008", timedelta(days=8)), ("new/000008", timedelta(days=6))):
        place.write(key, b"content")
        at = (datetime.now(UTC) - age).timestamp()
        os.utime(tmp_path / key, (at, at))
    Checkpoints(place).clear()
    assert list(place.list()) == ["new/000008"]
    assert not (tmp_path / "old").exists()


def test_checkpoints_are_for_this_user_alone(tmp_path: Path) -> None:
    place = Directory(tmp_path / "checkpoints")
    place.write("folder/000008", b"a model before its thresholds are moved off the rows")
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "checkpoints", tmp_path / "checkpoints/folder")} == {0}


def test_training_goes_on_when_a_checkpoint_cannot_be_written(caplog: pytest.LogCaptureFixture) -> None:
    class Full(Directory):
        def write(self, key: str, content: bytes) -> None:
            raise UnavailableError(f"cannot write {key}: No space left on device")

    with caplog.at_level(logging.WARNING):
        Series(IDENTITY, Full(Path("unused"))).keep(_checkpoint(8))
    assert "round 8 has no checkpoint" in caplog.text


@pytest.mark.parametrize("location", ["ftp://host/place", "s3://", "file://place", "hdfs:/place"])
def test_unsupported_place_is_refused(location: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"give a directory, a file:///path URL, or bucket/prefix after one of s3://"
    ):
        open_blobs(location)


def test_chunks_have_seeds_of_their_own_and_the_first_one_the_base() -> None:
    seeds = [seed_of(7, chunk) for chunk in range(500)]
    assert seeds[0] == 7
    assert len(set(seeds)) == 500
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert seed_of(8, 1) != seeds[1]


def test_best_round_is_the_first_smallest_and_nan_is_none() -> None:
    assert best([3.0, 1.0, 2.0, 1.0]) == 1
    assert best([3.0, float("nan"), 2.0]) == 2
    assert not is_over([3.0, 1.0, 2.0], 2)
    assert is_over([3.0, 1.0, 2.0, 1.0], 2)
    assert not is_over([], 1)
    assert not is_over([None] * 9, None)


def _table(directory: Path, task: str, height: int) -> Rows:
    matrix = toy.matrix(height, 3)
    return toy.table(directory, matrix, toy.outcomes(task, matrix))


class KilledError(Exception):
    """Stands for the end of the process."""


FAMILIES = {
    "gbtree": GbtreeParams(
        seed=1,
        max_rounds=40,
        subsample=0.6,
        colsample_bytree=0.7,
        early_stopping_rounds=4,
        checkpoint_rounds=CHUNK,
        threads=1,
    ),
    "dart": DartParams(
        family="dart",
        seed=1,
        max_rounds=20,
        subsample=0.6,
        skip_drop=0.2,
        rate_drop=0.4,
        checkpoint_rounds=CHUNK,
        threads=1,
    ),
}


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("family", FAMILIES)
def test_resumed_training_gives_the_bytes_of_an_uninterrupted_one(tmp_path: Path, family: str, task: str) -> None:
    settings, schema, rows = FAMILIES[family], toy.schema(task), _table(tmp_path / "rows", task, 400)
    told: list[Round] = []
    whole, entries = boosting.train(rows, settings, schema, Session(watch=told.append))
    place, again = Directory(tmp_path / "checkpoints"), []
    for stop in range(5, len(told), CHUNK + 3):  # in every part of a chunk, in both passes

        def watch(at: Round, stop: Round = told[stop]) -> None:
            again.append(at)
            if at == stop:
                raise KilledError

        with pytest.raises(KilledError):
            boosting.train(rows, settings, schema, Session(Checkpoints(place), watch))
    last: list[Round] = []
    resumed, same = boosting.train(rows, settings, schema, Session(Checkpoints(place), last.append))
    assert resumed.save_raw("ubj") == whole.save_raw("ubj")
    assert (same, last) == (entries, told)  # the rounds before are told of again


def test_number_of_rounds_in_a_chunk_belongs_to_the_model(tmp_path: Path) -> None:
    rows = _table(tmp_path / "rows", "binary", 400)
    settings = [
        GbtreeParams(seed=1, max_rounds=20, subsample=0.6, checkpoint_rounds=rounds) for rounds in (8, 8, 10, 20)
    ]
    models = [boosting.train(rows, each, toy.schema("binary"))[0].save_raw("ubj") for each in settings]
    assert models[0] == models[1]
    assert len(set(map(bytes, models))) == 3


def test_best_round_is_that_of_one_uninterrupted_call_of_xgboost(tmp_path: Path) -> None:
    import xgboost

    rows = _table(tmp_path / "rows", "binary", 400)
    # Without sampling a seed changes nothing, so that one call without chunks must agree.
    settings = GbtreeParams(seed=1, max_rounds=200, learning_rate=0.3, early_stopping_rounds=7, checkpoint_rounds=CHUNK)
    _, entries = boosting.train(rows, settings, toy.schema("binary"))
    matrix, held = rows.matrix, rows.is_validation
    learned = xgboost.QuantileDMatrix(matrix[~held], rows.outcomes[~held])
    stopped = xgboost.train(
        boosting.asked_of(settings, toy.schema("binary")),
        learned,
        200,
        evals=[(xgboost.QuantileDMatrix(matrix[held], rows.outcomes[held], ref=learned), "held")],
        early_stopping_rounds=7,
        verbose_eval=False,
    )
    assert stopped.best_iteration + 1 < 193  # it did stop early
    assert (entries["rounds"], entries["validation_log_loss"]) == (stopped.best_iteration + 1, stopped.best_score)


def _train(workspace: Path, rounds: str, checkpoints: Path) -> int:
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "BULKHEAD_CHECKPOINTS": str(checkpoints)}
    command = [sys.executable, str(PROJECT / "tests/faults/dying_in_training.py"), rounds]
    return subprocess.run(command, cwd=workspace, env=environment, check=False).returncode


def _outputs(workspace: Path) -> dict[str, bytes]:
    return {
        path.relative_to(workspace).as_posix(): path.read_bytes()
        for path in sorted((workspace / paths.MODELS).rglob("*"))
        if path.is_file()
    }


def test_killed_training_is_resumed_in_another_workspace_to_the_same_bytes(
    workspace: Path, raw: dict[str, Any]
) -> None:
    raw["train"] |= {"subsample": 0.7, "colsample_bytree": 0.7, "checkpoint_rounds": CHUNK, "threads": 1}
    (workspace / "params.yaml").write_text(yaml.safe_dump(raw))
    write_months(workspace)
    features.run(Params.model_validate(raw))
    one, two, whole = (workspace.with_name(f"{workspace.name}-{name}") for name in ("one", "two", "whole"))
    for copy in (one, two, whole):
        shutil.copytree(workspace, copy)
    checkpoints = workspace / "shared"

    assert _train(whole, "never", workspace / "unused") == 0
    searched = len((whole / paths.CURVE / "plots/metrics/validation_loss.tsv").read_text().splitlines()) - 1
    rounds = len((whole / "rounds").read_bytes())
    assert searched > CHUNK < rounds - searched  # a kill in either pass is past a checkpoint

    assert _train(one, str(CHUNK + 3), checkpoints) == -signal.SIGKILL  # in the search
    newest = max(checkpoints.rglob("0*"))
    newest.write_bytes(newest.read_bytes()[:-1])  # torn, and the only one: the search begins anew
    assert _train(one, str(searched + CHUNK + 3), checkpoints) == -signal.SIGKILL  # in the fit of all rows
    assert not (one / paths.TRAINING).exists()
    assert _train(two, "never", checkpoints) == 0
    assert _outputs(two) == _outputs(whole)
    assert len((two / "rounds").read_bytes()) == rounds - searched - CHUNK  # the worker before lost three rounds
    assert len([path for path in checkpoints.rglob("*") if path.is_file()]) == 2  # one for each pass
    (two / "rounds").unlink()
    assert _train(two, "never", checkpoints) == 0  # as after a kill before DVC has recorded the stage
    assert not (two / "rounds").exists()
    assert _outputs(two) == _outputs(whole)


def test_checkpoints_of_other_rows_settings_and_libraries_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import xgboost

    place, schema = Directory(tmp_path / "checkpoints"), toy.schema("binary")
    rows, settings = _table(tmp_path / "rows", "binary", 200), FAMILIES["gbtree"]

    def folders(rows: Rows, settings: Any) -> set[str]:
        boosting.search(rows, settings, schema, Session(Checkpoints(place)))
        return {key.partition("/")[0] for key in place.list()}

    changes = ({}, {"threads": 2}, {"memory": "external"}, {"seed": 2}, {"max_depth": 3}, {"checkpoint_rounds": 9})
    found = [folders(rows, settings.model_copy(update=changed)) for changed in changes]
    found.append(folders(_table(tmp_path / "others", "binary", 201), settings))
    monkeypatch.setattr(xgboost, "__version__", "3.3.0")
    found.append(folders(rows, settings))
    assert [len(names) for names in found] == [1, 1, 1, 2, 3, 4, 5, 6]


def test_rows_have_a_digest_of_their_bytes(tmp_path: Path) -> None:
    rows = _table(tmp_path / "rows", "binary", 50)
    same, other = Rows(rows.directory), _table(tmp_path / "others", "binary", 51)
    assert rows.digest == same.digest != other.digest
    assert replace(rows).digest == rows.digest
