"""A Dask cluster: processes of this command on this machine, or the workers of a scheduler. Dask is imported where one is asked for."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from contract.errors import ConfigurationError, UnavailableError

Item = TypeVar("Item")
_LOOPBACK = "127.0.0.1"
_ANSWER_S = 10
_WORKERS_S = 60.0


@contextmanager
def client_of(settings: tuple[int, str | None] | None) -> Iterator[Any]:
    """Yield the client of `connected` by these arguments; None for None."""
    if settings is None:
        yield None
        return
    with connected(*settings) as client:
        yield client


@contextmanager
def connected(workers: int, scheduler: str | None) -> Iterator[Any]:
    """Yield a `distributed.Client`.

    Without an address it is that of an own cluster, which ends with the block or with this process: `workers` processes that listen on the
    loopback interface alone, over TLS with keys that only they know. A client of Dask can run any code on a cluster.

    Args:
        scheduler: address such as `tcp://10.0.0.5:8786`; Dask's own configuration has the keys of a `tls://` one.

    Raises:
        ConfigurationError: the address is invalid.
        UnavailableError: nothing answers there, or it has no worker.
    """
    import dask
    from distributed import Client

    for name in ("distributed", "distributed.client"):  # a dead worker is told by whoever goes on without it
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # A model goes to the workers with the task that grows it further.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}):
        yield from _connected(Client, workers, scheduler)


def _connected(client_class: Any, workers: int, scheduler: str | None) -> Iterator[Any]:
    if scheduler is None:
        with _own(workers) as cluster, client_class(cluster) as client:
            yield client
        return
    try:
        client = client_class(scheduler, timeout=_ANSWER_S)
    except (OSError, TimeoutError) as error:
        raise UnavailableError(
            f"train.scheduler: {scheduler} does not answer within {_ANSWER_S} s; start it (`python -m dask scheduler`), or remove the "
            "key for a cluster on this machine"
        ) from error
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"train.scheduler: {scheduler} is no address: {error}; allowed is one such as tcp://10.0.0.5:8786"
        ) from error
    with client:
        _check_alike(client, scheduler)
        yield client


def _check_alike(client: Any, scheduler: str) -> None:
    """Check that the scheduler and the workers have this code and these libraries: tasks come to both as names in this code.

    Raises:
        ConfigurationError: one has not.
    """

    def libraries() -> dict[str, str] | str:
        # Local, so that it is sent by value: it runs where nothing of ours can be imported.
        try:
            importlib.import_module("pipelines.machine.cluster")
            return {name: importlib.import_module(name).__version__ for name in ("numpy", "polars", "xgboost")}
        except ImportError as error:
            return str(error)

    expected, found = libraries(), {"the scheduler": client.run_on_scheduler(libraries)}
    found |= {f"worker {address}": of for address, of in asked(client, libraries, threads(client)).items()}
    for who, of in found.items():
        if of != expected:
            role = "scheduler" if who == "the scheduler" else f"worker {scheduler}"
            raise ConfigurationError(
                f"train.scheduler: {who} has not the code and the libraries of this process: {_shown(of)}, and here {_shown(expected)}; "
                f"start it in the project by `.venv/pipeline/bin/python -m dask {role}` (`dask {role}` does not find the code)"
            )


def _shown(libraries: Mapping[str, str] | str) -> str:
    return libraries if isinstance(libraries, str) else ", ".join(f"{name} {of}" for name, of in libraries.items())


@contextmanager
def _own(workers: int) -> Iterator[Any]:
    from distributed import LocalCluster

    with (
        tempfile.TemporaryDirectory() as directory,
        LocalCluster(
            n_workers=workers,
            threads_per_worker=2
            * workers,  # the last one left can do the work of all, beside ranks that wait for a dead one
            host=_LOOPBACK,
            protocol="tls://",
            security=True,
            dashboard_address=None,
            scheduler_kwargs={
                "dashboard_address": f"{_LOOPBACK}:0"
            },  # its HTTP server listens even so, by default on a fixed port
            memory_limit=None,
            local_directory=directory,
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster


def threads(client: Any) -> dict[str, int]:
    """Return the number of threads of each worker by its address, in the order of their names.

    A worker that was restarted has another address.
    """
    found = client.scheduler_info(n_workers=-1)["workers"]
    return {
        address: found[address]["nthreads"]
        for address in sorted(found, key=lambda each: (str(found[each]["name"]), each))
    }


def alive(client: Any) -> dict[str, int]:
    """Return `threads` of the workers that answer: the scheduler may not have noticed yet that one is gone."""
    found = threads(client)
    answered = asked(client, os.getpid, found)
    return {address: count for address, count in found.items() if address in answered}


def asked(client: Any, function: Callable[..., Any], workers: Iterable[str], *arguments: Any) -> dict[str, Any]:
    """Return what a function gives on each of the workers that answers in time: one that hangs holds up nobody."""

    async def one(worker: str) -> dict[str, Any]:
        answer = client._run(function, *arguments, workers=[worker], on_error="ignore")
        try:
            found: dict[str, Any] = await asyncio.wait_for(answer, _ANSWER_S)
        except TimeoutError:
            return {}
        return found

    async def every() -> dict[str, Any]:
        return dict(item for answer in await asyncio.gather(*map(one, workers)) for item in answer.items())

    answers: dict[str, Any] = client.sync(every)
    return answers


def each(
    function: Callable[[Item], None],
    items: Iterable[Item],
    client: Any,
    done: Callable[[Item], None] = lambda _: None,
) -> None:
    """Call a function with each item: in turn here, or, with a client, on its workers, in this directory, one for each worker at a time.

    `done` is called here with each item that is done.

    Another worker does again what a dead one had. After a failure no further item is started, and the failure of the first item is
    raised, as where they are called in turn.

    Raises:
        UnavailableError: the scheduler is gone, there was no worker for a minute, or several died of one item.
    """
    if client is None:
        for item in items:
            function(item)
            done(item)
        return
    from concurrent.futures import CancelledError

    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    try:
        _each_on_workers(function, items, client, done)
    except KilledWorker as error:
        raise UnavailableError(
            "train.engine: dask lost several workers over one partition; see their logs, and whether they have the memory for it"
        ) from error
    except (CancelledError, CommClosedError) as error:
        raise UnavailableError(
            "train.engine: dask lost its scheduler; see its logs, and run the stage again"
        ) from error


def _each_on_workers(
    function: Callable[[Item], None], items: Iterable[Item], client: Any, done: Callable[[Item], None]
) -> None:
    from distributed import wait

    waiting = enumerate(items)
    running: dict[Any, tuple[int, Item]] = {}  # the item of each future, and its place
    failed: dict[int, Any] = {}
    while True:
        free = 0 if failed else max(1, len(threads(client))) - len(running)
        for place, item in islice(waiting, max(0, free)):
            running[client.submit(_call, Path.cwd(), function, item, pure=False)] = place, item
        if not running:
            break
        try:
            ended = wait(list(running), timeout=_WORKERS_S, return_when="FIRST_COMPLETED").done
        except TimeoutError as error:
            if not threads(client):
                raise UnavailableError(
                    f"train.engine: dask has no worker since {_WORKERS_S:.0f} s; start one"
                ) from error
            continue
        for future in ended:
            place, item = running.pop(future)
            if future.status == "finished":
                done(item)
            else:
                failed[place] = future
    if failed:
        failed[min(failed)].result()


def _call(directory: Path, function: Callable[[Item], None], item: Item) -> None:
    """Call the function in a worker; all paths of ours are relative."""
    try:
        os.chdir(directory)
    except OSError as error:
        raise ConfigurationError(
            f"train.scheduler: a worker has no directory {directory} ({error.strerror}); give the workers this directory, on a file "
            "system that all machines share"
        ) from error
    function(item)
