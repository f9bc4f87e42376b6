"""Processes that do trials, each with its own copy of the rows; they end with the process that started them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from contract.errors import BulkheadError, UnavailableError
from contract.schema.schema import FeatureSchema
from pipelines.data.training import Rows
from pipelines.params.target import TargetParams
from pipelines.stages.tune.trials import Outcome, Task, run


class Processes:
    """Processes, each with a connection to it."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._connections = connections

    def outcomes(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Do the tasks, no more than there are processes, at once; yield their outcomes in order.

        Raises:
            UnavailableError: a process was killed.
        """
        used = self._connections[: len(tasks)]
        for connection, task in zip(used, tasks, strict=True):
            with _explained():
                connection.send(task)
        for connection in used:
            with _explained():
                outcome = connection.recv()
            if isinstance(outcome, BulkheadError):
                raise outcome
            yield outcome


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise UnavailableError(
            "a process of the search was killed; run it again: it goes on after the finished trials. If the kernel killed it for "
            "memory, lower tune.processes"
        ) from error


@contextmanager
def started(count: int, directory: Path, schema: FeatureSchema, target: TargetParams) -> Iterator[Processes]:
    """Start processes that read the rows in `directory`, and end them with the block."""
    context = multiprocessing.get_context("spawn")  # a fork would inherit threads of XGBoost's and Polars' in any state
    connections, processes = [], []
    for _ in range(count):
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, directory, schema, target), daemon=True)
        process.start()
        theirs.close()
        connections.append(ours)
        processes.append(process)
    try:
        yield Processes(connections)
    finally:
        for process, connection in zip(processes, connections, strict=True):
            connection.close()
            process.terminate()
            process.join()


def _serve(connection: Connection, directory: Path, schema: FeatureSchema, target: TargetParams) -> None:
    """Do tasks until the other end is closed, as it is when its process is killed."""
    rows = Rows(directory)
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        try:
            outcome: Outcome | BulkheadError = run(task, rows, schema, target)
        except BulkheadError as error:
            outcome = error
        try:
            connection.send(outcome)
        except BrokenPipeError:
            return
