"""XGBoost on the workers of a Dask cluster: each learns from its share of every partition, and all grow the same trees.

The model depends on the number of shares, `train.workers`, and not on the processes that hold them. XGBoost joins *ranks*: one is a thread
of a worker, and where workers are missing one has the ranks of several. So a training goes on with those that are left, to the same
bytes. `xgboost.dask` is built on the same interface (`xgboost.tracker`, `xgboost.collective`), but there the ranks are the workers, in the
order of their addresses, and each learns from what happens to lie on it.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.errors import UnavailableError
from pipelines.data import tables
from pipelines.data.training import BATCH_ROWS, Batch, Part, Rows, Span
from pipelines.machine import cluster
from pipelines.models.engines import seen
from pipelines.models.engines.checkpoints import Checkpoint
from pipelines.models.engines.chunks import is_over
from pipelines.models.engines.local import LocalEngine, Matrices, Parts

_ATTEMPTS = 5  # in a row, without a chunk in between
_RETURN_S = 15.0  # for a worker to come back, before the others take its ranks
_MISSED_S = 15.0  # for the scheduler to notice that a worker is gone, whose ranks the others have missed already
_WORKERS_S = 60.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Share(Rows):
    """One rank's share of the rows: as many of every partition, next to each other.

    Attributes:
        rank: from 0.
        ranks: their number.
    """

    rank: int = 0
    ranks: int = 1

    def batches(self, part: Part = Part.ALL, at_once: int = BATCH_ROWS) -> Iterator[Batch]:
        """Yield the rows as `Rows` does; if there are none, one batch without rows, for XGBoost joins no rank without a batch."""
        is_empty = True
        for batch in super().batches(part, at_once):
            is_empty = False
            yield batch
        if is_empty:
            yield self.batch(tables.read_slice(self.files[0], 0, 0))

    @property
    def is_small(self) -> bool:
        """False, for a worker would keep the whole table and not its share."""
        return False

    def spans(self, at_once: int) -> Iterator[Span]:
        """Yield the slices of the share."""
        for file, height in enumerate(self.heights):
            first, end = (height * rank // self.ranks for rank in (self.rank, self.rank + 1))
            for start in range(first, end, at_once):
                yield file, start, min(at_once, end - start)


@dataclass(frozen=True)
class Job:
    """One pass, as a worker gets it.

    Attributes:
        name: no other pass has it.
        directory: of the training rows; each worker reads its shares from there.
        parts: the rows that are learned, and those that stop the rounds.
    """

    name: str
    directory: Path
    ranks: int
    asked: Mapping[str, Any]
    parts: Parts
    patience: int | None
    is_external: bool


@contextmanager
def cluster_engine(client: Any, job: Job) -> Iterator[ClusterEngine]:
    """Yield the engine of a pass; the workers forget its matrices at the end."""
    try:
        yield ClusterEngine(client, job)
    finally:
        try:
            client.run(_forget, job.name, on_error="ignore")
        except OSError as error:
            _LOG.warning("the workers keep the training rows until they end: %s", error)


class ClusterEngine:
    """Grows trees on a cluster; see `pipelines.models.engines.chunks.Engine`."""

    def __init__(self, client: Any, job: Job) -> None:
        self._client, self._job = client, job
        self._address = _own_address(client)
        self._attempt = 0
        self._places: list[str] = []  # the worker of each rank
        self._reached = b""  # the model that the ranks hold there

    def grow(
        self, checkpoint: Checkpoint, rounds: int, seed: int, goes_on: Callable[[float | None], bool]
    ) -> Checkpoint:
        """Return the checkpoint after that many further rounds, or after the last one of the pass; workers may die meanwhile.

        Raises:
            UnavailableError: five attempts lost a worker, or there is none.
        """
        for _ in range(_ATTEMPTS):
            try:
                grown = self._grow(checkpoint, rounds, seed)
            except _LostError as error:
                _LOG.warning("%s; training goes on from round %d", error, checkpoint.rounds)
                continue
            for loss in grown.losses[checkpoint.rounds :]:
                goes_on(loss)
            self._reached = grown.model
            return grown
        raise UnavailableError(
            f"train.engine: dask lost a worker {_ATTEMPTS} times before a chunk of {rounds} rounds was complete; see its logs"
        )

    def _grow(self, checkpoint: Checkpoint, rounds: int, seed: int) -> Checkpoint:
        from xgboost.core import XGBoostError
        from xgboost.tracker import RabitTracker

        self._find_places()
        tracker = RabitTracker(self._job.ranks, self._address, sortby="task")
        tracker.start()
        given = Checkpoint(checkpoint.losses, b"" if self._reached == checkpoint.model else checkpoint.model)
        futures = [
            self._client.submit(
                _grow_rank, self._job, rank, self._attempt, tracker.worker_args(), given, rounds, seed,
                workers=[place], allow_other_workers=False, retries=0, pure=False,
            )
            for rank, place in enumerate(self._places)
        ]  # fmt: skip
        try:
            return self._results(futures, set(self._places))
        finally:
            self._client.cancel(futures, force=True)
            with suppress(XGBoostError):  # of ranks that it waited for
                tracker.free()

    def _results(self, futures: list[Any], places: set[str]) -> Checkpoint:
        """Return the checkpoint of rank 0. Raises _LostError if a place is gone, else what a rank raised."""
        from distributed import wait

        open_ = list(futures)
        while open_:
            try:
                done = wait(open_, timeout=1, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                done = set()
            failed = [future for future in done if future.status != "finished"]
            # The ranks that are left fail within moments, often before the scheduler misses a worker.
            until = time.monotonic() + (_MISSED_S if failed else 0)
            while True:
                if missing := places - cluster.threads(self._client).keys():
                    raise _LostError(f"a worker died ({len(missing)} of {len(places)})")
                if time.monotonic() >= until:
                    break
                time.sleep(0.1)
            if failed:
                failed[0].result()
                raise _LostError("a rank was cancelled")
            open_ = [future for future in open_ if future not in done]
        grown: Checkpoint = futures[0].result()
        return grown

    def _find_places(self) -> None:
        """Keep the workers of the ranks; if one is gone, wait for it to come back, or take those that are left."""
        ranks, start, is_first = self._job.ranks, time.monotonic(), not self._places
        while True:
            free = cluster.alive(self._client)
            if self._places and free.keys() >= set(self._places):
                return
            waited = time.monotonic() - start
            if len(free) >= ranks or ((waited >= _RETURN_S or is_first) and sum(free.values()) >= ranks):
                # Matrices are made by all ranks together: new ones, even where an old one is left.
                self._places, self._reached, self._attempt = dealt(free, ranks), b"", self._attempt + 1
                seen.check(self._client, self._places, self._job.directory)
                return
            if waited >= _WORKERS_S:
                raise UnavailableError(
                    f"train.workers: {ranks} takes as many threads of Dask workers; after {_WORKERS_S:.0f} s the cluster has "
                    f"{sum(free.values())}, in {len(free)} workers"
                )
            time.sleep(0.1)


class _LostError(Exception):
    """A worker is gone."""


def dealt(threads: Mapping[str, int], ranks: int) -> list[str]:
    """Return the worker of each rank: one for each worker in turn, and never more than it has threads.

    Ranks wait for each other, so that one without a thread would stop all.
    """
    free = dict(threads)
    found: list[str] = []
    while len(found) < ranks:
        for place in [place for place, left in free.items() if left][: ranks - len(found)]:
            found.append(place)
            free[place] -= 1
    return found


def _own_address(client: Any) -> str:
    """Return the address of this machine at which the workers reach it: the one from which it reaches the scheduler."""
    import socket

    host, port = client.scheduler.address.rpartition("://")[2].rsplit(":", 1)
    family, kind, _, _, address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as chosen:
        chosen.connect(address)  # of a datagram's socket: it sends nothing
        found: str = chosen.getsockname()[0]
        return found


# In the process of a worker: the engine of each of its ranks, by the job's name.
_RANKS: dict[tuple[str, int], tuple[int, LocalEngine, Any]] = {}


def _grow_rank(
    job: Job, rank: int, attempt: int, communicator: dict[str, Any], given: Checkpoint, rounds: int, seed: int
) -> Checkpoint | None:
    """Grow trees together with the other ranks, in a worker; return the checkpoint if this is rank 0.

    Args:
        attempt: another one makes its matrices anew, together with all ranks.
        given: without a model, the rank goes on from its own.
    """
    from xgboost.collective import CommunicatorContext

    with CommunicatorContext(**communicator, dmlc_task_id=f"{rank:06d}"):
        engine = _engine(job, rank, attempt)
        losses = list(given.losses)

        def goes_on(loss: float | None) -> bool:
            losses.append(loss)
            return not is_over(losses, job.patience)

        grown = engine.grow(Checkpoint(given.losses, given.model or engine.model), rounds, seed, goes_on)
    return grown if rank == 0 else None


def _engine(job: Job, rank: int, attempt: int) -> LocalEngine:
    held = _RANKS.get((job.name, rank))
    if held is not None and held[0] == attempt:
        return held[1]
    rows = Share(job.directory, rank, job.ranks)
    pages = tempfile.TemporaryDirectory() if job.is_external else None  # until this process ends, or the job
    matrix = Matrices(job.asked["nthread"], Path(pages.name) if pages else None, lambda given: given)
    engine = LocalEngine(job.asked, lambda: matrix.pair(rows, job.parts))
    _RANKS[job.name, rank] = attempt, engine, pages
    return engine


def _forget(name: str) -> None:
    for key in [key for key in _RANKS if key[0] == name]:
        del _RANKS[key]
