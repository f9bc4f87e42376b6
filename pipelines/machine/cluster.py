"""A Dask cluster: processes of this command on this machine, or the workers of a scheduler. Dask is imported where one is asked for."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from contract.errors import ConfigurationError, UnavailableError

_LOOPBACK = "127.0.0.1"
_ANSWER_S = 10
_START_S = 60


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

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a dead worker is told by whoever goes on without it
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
            f"train.scheduler: {scheduler} does not answer within {_ANSWER_S} s; start it (`dask scheduler`), or remove the key for a "
            "cluster on this machine"
        ) from error
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"train.scheduler: {scheduler} is no address: {error}; allowed is one such as tcp://10.0.0.5:8786"
        ) from error
    with client:
        yield client


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
    answered = client.run(os.getpid, workers=list(found), on_error="ignore") if found else {}
    return {address: count for address, count in found.items() if address in answered}
