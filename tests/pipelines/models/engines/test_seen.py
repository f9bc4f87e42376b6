"""Workers of a cluster that lack the training rows, this project's code or its libraries, or have others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contract.errors import EXIT_CONFIGURATION, ConfigurationError
from pipelines.machine import cluster
from pipelines.models.engines import seen


class Client:
    """What `distributed.Client` is to the checks: a scheduler, and workers, each of which answers as its function says, or not at all."""

    def __init__(self, scheduler: Any = None, **workers: Callable[[], Any] | None) -> None:
        self._scheduler, self._workers = scheduler, workers

    def run_on_scheduler(self, function: Callable[[], Any]) -> Any:
        if isinstance(self._scheduler, Exception):
            raise self._scheduler
        return self._scheduler or function()

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        return {"workers": {name: {"name": name, "nthreads": 1} for name in self._workers}}

    def sync(self, function: Callable[[], Any]) -> Any:
        return asyncio.run(function())

    async def _run(self, _: Any, *__: Any, on_error: str, workers: list[str]) -> dict[str, Any]:
        (name,) = workers
        answer = self._workers[name]
        if answer is None:
            await asyncio.sleep(3600)
        return {name: answer()} if answer else {}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_ANSWER_S", 0.2)
    monkeypatch.setattr(seen, "_SHOWN_S", 0.0)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    for name, content in (
        ("2024-01.parquet", b"one"),
        ("2024-02.parquet", b"x" * 100_000 + b"two"),
        (".gitignore", b""),
    ):
        (tmp_path / name).write_bytes(content)
    return tmp_path


def changed(rows: Path, name: str, content: bytes | None) -> Callable[[], Any]:
    """What a worker answers in whose directory one file differs."""
    other = rows.with_name(f"{rows.name}-of-a-worker")
    other.mkdir()
    for path in rows.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / name).write_bytes(content) if content else (other / name).unlink()
    return lambda: seen.files(other)


def test_workers_that_see_the_same_files_pass_and_one_that_does_not_answer_is_not_judged(rows: Path) -> None:
    same = changed(rows, ".gitignore", b"of no account")
    seen.check(Client(a=same, b=None), ["a", "b", "a"], rows)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("2024-02.parquet", None, "2024-02.parquet is missing there"),
        ("2024-02.parquet", b"x" * 100_000 + b"owt", "2024-02.parquet is another file there"),
        ("2024-01.parquet", b"one more", "2024-01.parquet is another file there"),
        ("2024-03.parquet", b"three", "2024-03.parquet is there alone"),
    ],
)
def test_worker_with_another_file_is_named_with_it(rows: Path, name: str, content: bytes | None, said: str) -> None:
    client = Client(a=lambda: seen.files(rows), b=changed(rows, name, content))
    with pytest.raises(
        ConfigurationError, match=rf"^train.scheduler: worker b does not see .* {rows}: {said}; give the"
    ):
        seen.check(client, ["a", "b"], rows)
    seen.check(client, ["a"], rows)  # b has no rank


def test_worker_without_the_directory_is_named_with_the_reason(rows: Path) -> None:
    client = Client(a=lambda: seen.files(rows / "nowhere"))
    with pytest.raises(ConfigurationError, match=f"in {rows}: No such file or directory; give the workers") as caught:
        seen.check(client, ["a"], rows)
    assert caught.value.exit_code == EXIT_CONFIGURATION


LACKING = "No module named 'pipelines'"
OTHERS = {"numpy": "2.0.0", "polars": "1.0.0", "xgboost": "0.1"}


@pytest.mark.parametrize(("answer", "said"), [(LACKING, LACKING), (OTHERS, "numpy 2.0.0, polars 1.0.0, xgboost 0.1")])
def test_worker_or_scheduler_of_another_environment_is_named_with_how_to_start_it(answer: Any, said: str) -> None:
    address, same = "tcp://10.0.0.5:8786", "has not the code and the libraries of this process"
    cluster._check_alike(Client(a=None, b=None), address)
    with pytest.raises(
        ConfigurationError, match=rf"^train.scheduler: the scheduler {same}: {said}, .* dask scheduler` "
    ):
        cluster._check_alike(Client(answer), address)
    with pytest.raises(ConfigurationError, match=rf"^train.scheduler: worker c {same}: {said}, .* worker {address}` "):
        cluster._check_alike(Client(c=lambda: answer), address)
