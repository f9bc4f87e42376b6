"""Training on a Dask cluster: real worker processes, killed with SIGKILL, to the bytes of an undisturbed training."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.errors import EXIT_RETRY, ConfigurationError, UnavailableError
from contract.schema.schema import Feature, FeatureSchema, Field, Target
from pipelines.data.training import Batch, Part, Rows, write
from pipelines.machine import cluster as machine
from pipelines.machine.cluster import connected, threads
from pipelines.models.engines import cluster, seen
from pipelines.models.engines.cluster import Share, dealt
from pipelines.models.families import boosting
from pipelines.models.family import Session
from pipelines.models.rounds import Round
from pipelines.params import file
from pipelines.params.train import GbtreeParams

PROJECT = Path(__file__).parents[4]
SCHEMA = FeatureSchema(
    "toy",
    "binary",
    Target("late", ("no", "yes"), 0.5),
    tuple(Field(name, "number") for name in "abcd"),
    tuple(Feature(name, "value", (name,)) for name in "abcd"),
)
SETTINGS = GbtreeParams(
    seed=1, engine="dask", workers=2, threads=1, subsample=0.8, learning_rate=0.05, max_rounds=40, early_stopping_rounds=20,
    checkpoint_rounds=10,
)  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Three partitions; the last one is for validation alone, and so small that the second share of it has little."""
    directory, draw = tmp_path_factory.mktemp("train"), np.random.default_rng(1)
    for month, height in enumerate((3000, 2000, 701), 1):
        matrix = draw.uniform(0, 1, (height, 4)).astype(np.float32)
        matrix[::9, 2] = np.nan
        late = (matrix[:, 0] + draw.normal(0, 0.3, height) > 0.5).astype(np.int8)
        write(directory / f"2024-0{month}.parquet", list("abcd"), Batch(matrix, late, np.full(height, month == 3)))
    return Rows(directory)


@pytest.fixture(scope="module")
def own() -> Iterator[Any]:
    with connected(2, None) as client:
        yield client


@pytest.fixture(scope="module")
def undisturbed(rows: Rows, own: Any) -> bytes:
    return _trained(rows, own)


def _trained(rows: Rows, client: Any, watch: Callable[[Round], None] = lambda _: None, **settings: Any) -> bytes:
    booster, _ = boosting.train(rows, SETTINGS.model_copy(update=settings), SCHEMA, Session(client=client, watch=watch))
    return bytes(booster.save_raw("ubj"))


def _killed(client: Any, name: int) -> int:
    """Kill the worker process of this name; return its id."""
    found = client.scheduler_info(n_workers=-1)["workers"]
    address = next(each for each in found if str(found[each]["name"]) == str(name))
    (pid,) = client.run(os.getpid, workers=[address]).values()
    os.kill(pid, signal.SIGKILL)
    return int(pid)


def test_shares_hold_every_row_once_and_never_nothing(rows: Rows) -> None:
    shares = [Share(rows.directory, rank, 3) for rank in range(3)]
    for part in Part:
        found = np.concatenate([batch.matrix for share in shares for batch in share.batches(part, 500)])
        expected = np.concatenate([batch.matrix for batch in rows.batches(part)])
        order = [np.lexsort(np.nan_to_num(matrix, nan=-1).T) for matrix in (found, expected)]
        assert np.array_equal(found[order[0]], expected[order[1]], equal_nan=True)
    many = [Share(rows.directory, rank, 1000) for rank in range(1000)]
    assert [
        len(list(many[0].batches(Part.VALIDATION))),
        sum(b.matrix.size for b in many[0].batches(Part.VALIDATION)),
    ] == [1, 0]


def test_ranks_are_dealt_in_turn_and_no_worker_has_more_than_threads() -> None:
    assert dealt({"a": 2, "b": 2}, 2) == ["a", "b"]
    assert dealt({"a": 3}, 3) == ["a", "a", "a"]
    assert dealt({"a": 1, "b": 3}, 4) == ["a", "b", "b", "b"]


def test_same_bytes_again_and_other_ones_with_another_number_of_workers(
    rows: Rows, own: Any, undisturbed: bytes
) -> None:
    assert _trained(rows, own) == undisturbed
    local = SETTINGS.model_copy(update={"engine": "local"})
    alone = bytes(boosting.train(rows, local, SCHEMA)[0].save_raw("ubj"))
    assert alone != undisturbed
    assert _trained(rows, own, workers=1) == alone  # on one worker the shares are the whole table


@pytest.mark.parametrize("at", [3, 25])
@pytest.mark.parametrize("worker", [0, 1])
def test_killed_worker_costs_a_chunk_and_no_byte(
    rows: Rows, own: Any, undisturbed: bytes, worker: int, at: int
) -> None:
    """The kill comes when the client has been told of a round: in the next chunk, or between two."""
    killed: list[int] = []

    def watch(reached: Round) -> None:
        if reached.number == at and not killed:
            killed.append(_killed(own, worker))

    assert _trained(rows, own, watch) == undisturbed
    assert len(killed) == 1
    assert killed[0] not in own.run(os.getpid).values()


def test_training_data_does_not_pass_the_client(
    rows: Rows, own: Any, undisturbed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, values = rows.digest, rows.values
    monkeypatch.setattr(Rows, "spans", lambda *_: pytest.fail("the client read training rows"))
    monkeypatch.setattr(boosting, "between_rows", lambda booster, _values: booster)  # a column at a time, afterwards
    assert digest == rows.digest
    grown = _trained(rows, own)
    monkeypatch.undo()
    import xgboost

    moved = boosting.between_rows(xgboost.Booster(model_file=bytearray(grown)), values)
    assert bytes(moved.save_raw("ubj")) == undisturbed


def test_error_of_a_rank_is_told_when_no_worker_died(own: Any, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_MISSED_S", 0.5)
    elsewhere = Rows(rows.directory)
    assert elsewhere.digest
    object.__setattr__(elsewhere, "directory", rows.directory / "moved")  # as on workers that lack the files
    with pytest.raises(Exception, match="contains no training rows"):
        _trained(elsewhere, own)


def test_worker_that_hangs_is_not_waited_for(own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_ANSWER_S", 5)  # which the other one has, too
    stopped, other = threads(own)
    (pid,) = own.run(os.getpid, workers=[stopped]).values()
    os.kill(pid, signal.SIGSTOP)
    try:
        assert machine.alive(own).keys() == {other}
    finally:
        os.kill(pid, signal.SIGCONT)


def test_workers_that_do_not_see_the_rows_are_told_by_the_key_before_they_train(
    rows: Rows, own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "_SHOWN_S", 0.0)

    def hide() -> None:
        seen.files = lambda _: "Permission denied"

    def show() -> None:
        importlib.reload(seen)

    own.run(hide)
    try:
        with pytest.raises(
            ConfigurationError, match=rf"^train.scheduler: .* {rows.directory}: Permission denied; give"
        ):
            _trained(rows, own)
    finally:
        own.run(show)


def test_address_that_does_not_answer_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_ANSWER_S", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(
                UnavailableError, match=rf"^train.scheduler: {address} does not answer within 1 s; .*$"
            ) as caught,
            connected(2, address),
        ):
            pass
    assert caught.value.exit_code == EXIT_RETRY


@pytest.fixture
def given(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler with two workers, which nobody starts again; its address, and the processes of the workers."""
    file = tmp_path / "scheduler.json"
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    start = "import sys; from distributed.cli import {0}; sys.exit({0}.main())"
    commands = [
        [sys.executable, "-c", start.format("dask_scheduler"), "--host", "127.0.0.1", "--port", "0", "--no-dashboard"],
        *(
            [
                sys.executable,
                "-c",
                start.format("dask_worker"),
                "--no-nanny",
                "--nthreads",
                "4",
                "--no-dashboard",
                "--name",
                name,
            ]
            for name in "01"
        ),
    ]
    started = [
        subprocess.Popen(
            [*command, "--scheduler-file", str(file)], env=environment, cwd=tmp_path,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for command in commands
    ]  # fmt: skip
    try:
        from distributed import Client

        while not file.exists():
            assert started[0].poll() is None
            time.sleep(0.1)
        with Client(scheduler_file=str(file), timeout=120) as client:
            client.wait_for_workers(2, timeout=120)
            yield client.scheduler.address, started[1:]
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_training_goes_on_with_the_workers_of_a_scheduler_that_are_left(
    rows: Rows, undisturbed: bytes, given: tuple[str, list[subprocess.Popen[bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_RETURN_S", 1.0)
    address, workers = given
    killed: list[int] = []

    def watch(reached: Round) -> None:
        if reached.number == 3 and not killed:
            killed.append(workers[0].pid)
            workers[0].kill()

    with connected(2, address) as client:
        assert _trained(rows, client, watch) == undisturbed
        assert len(threads(client)) == 1


def test_workers_without_threads_for_all_ranks_are_told(own: Any, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_WORKERS_S", 0.5)
    with pytest.raises(UnavailableError, match=r"^train.workers: 9 takes as many threads of Dask workers"):
        _trained(rows, own, workers=9)


def test_dask_is_not_imported_where_it_is_not_asked_for() -> None:
    code = (
        "import sys, pipelines.stages.train.stage, pipelines.stages.features.stage, pipelines.params.params;"
        "sys.exit(any(name.partition('.')[0] in ('dask', 'distributed') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scheduler": "tcp://127.0.0.1:8786"}, r"train\.scheduler goes with train\.engine dask only \(it is local\)"),
        ({"workers": 3}, r"train\.workers goes with train\.engine dask only \(it is local\)"),
        (
            {"engine": "dask", "scheduler": "10.0.0.5"},
            r"train\.scheduler': must be an address such as tcp://10\.0\.0\.5:8786 \(it is '10\.0\.0\.5'\)",
        ),
    ],
)
def test_settings_of_the_cluster_that_cannot_be_meant_are_refused(
    raw: dict[str, Any], settings: dict[str, Any], said: str
) -> None:
    raw["train"] |= settings
    with pytest.raises(ConfigurationError, match=said):
        file.parse(json.dumps(raw).encode(), "params.yaml")
