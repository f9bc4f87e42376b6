"""The stage `features` on a Dask cluster: real worker processes, killed with SIGKILL, to the bytes of this process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from contract.errors import EXIT_DATA, ConfigurationError, DataRejectedError, Problem, UnavailableError
from pipelines import paths
from pipelines.data import training
from pipelines.machine import cluster
from pipelines.params.params import Params
from pipelines.stages.features import stage
from tests.pipelines.conftest import write_months

HISTORY = {"transform": "history", "statistic": "count", "by": ["depot"], "known_at": "promised", "window": "2d"}
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def own() -> Iterator[Any]:
    with cluster.connected(2, None) as client:
        yield client


@pytest.fixture
def weighted(raw: dict[str, Any], workspace: Path) -> Params:
    raw["target"]["class_weight"] = "balanced"
    raw["features"]["recent"] = HISTORY
    write_months(workspace)
    return Params.model_validate(raw)


def _digests() -> dict[str, str]:
    return {str(path): sha256(path.read_bytes()).hexdigest() for path in paths.FEATURES.rglob("*") if path.is_file()}


def _on(client: Any, params: Params, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The digests of what the workers write, while this process encodes nothing."""
    with monkeypatch.context() as patched:
        patched.setattr(cluster, "client_of", lambda _: nullcontext(client))
        patched.setattr(training, "write", lambda *_: pytest.fail("the client encoded rows"))
        stage.run(params)
    return _digests()


def test_workers_write_the_bytes_of_this_process(weighted: Params, own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.run(weighted)
    alone = _digests()
    assert {str(paths.history("2024-01")), str(paths.training_rows("2024-02"))} <= alone.keys()
    assert _on(own, weighted, monkeypatch) == alone


def test_engine_of_train_is_where_partitions_are_encoded(raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(cluster, "connected", lambda *settings: nullcontext(asked.append(settings)))
    raw["train"] |= {"engine": "dask", "workers": 3}
    with cluster.client_of(Params.model_validate(raw).train.cluster):
        assert asked == [(3, None)]


def test_killed_worker_costs_no_byte_and_leaves_no_file(weighted: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.run(weighted)
    alone = _digests()
    killed = Path("killed").absolute()

    def die_at_the_first_write() -> None:
        def write(path: Path, *_: Any) -> None:
            try:
                killed.mkdir()
            except FileExistsError:
                original(path, *_)
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}.{os.getpid()}.part").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)

        original = training.write
        training.write = write

    with cluster.connected(2, None) as client:
        client.run(die_at_the_first_write)
        assert _on(client, weighted, monkeypatch) == alone
    assert killed.is_dir()


def test_failure_of_the_first_item_comes_through_as_it_is(own: Any, workspace: Path) -> None:
    def fail(item: int) -> None:
        if item:
            raise DataRejectedError(f"partition {item}", [Problem(3, "distance", "is no number")])

    said = []
    for client in (None, own):
        with pytest.raises(DataRejectedError) as caught:
            cluster.each(fail, range(9), client)
        assert caught.value.exit_code == EXIT_DATA
        said.append(str(caught.value))
    assert said[0] == said[1] == "partition 1\n  - row 3, field 'distance': is no number"


def test_worker_has_one_partition_at_a_time(own: Any, workspace: Path) -> None:
    def once(item: int) -> None:
        busy = Path(f"{os.getpid()}.busy")
        busy.mkdir()
        time.sleep(0.05)
        busy.rmdir()
        Path(f"{item}.done").touch()

    cluster.each(once, range(12), own)
    assert len(list(workspace.glob("*.done"))) == 12


def test_partition_that_kills_each_worker_ends_the_stage(workspace: Path) -> None:
    with cluster.connected(1, None) as client:
        client.cluster.scheduler.allowed_failures = 0
        with pytest.raises(UnavailableError, match=r"^train.engine: dask lost several workers over one partition"):
            cluster.each(lambda _: os.kill(os.getpid(), signal.SIGKILL), range(2), client)


def test_worker_without_this_directory_is_told_by_the_key(weighted: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"^train.scheduler: a worker has no directory /nowhere"):
        cluster._call(Path("/nowhere"), print, None)
    monkeypatch.setattr(cluster, "each", lambda *_, **__: None)  # as workers do whose directory of this name is another
    with pytest.raises(
        ConfigurationError, match=r"^train.scheduler: a worker wrote .*2024-01.parquet, and it is not here"
    ):
        stage.run(weighted)
