"""PostgreSQL, Redis and Celery's workers in two checkouts that share a bucket; then LocalExecutor on the same database.

What ends here costs an attempt at most: a whole worker, the broker, the database server, and everything by `airflow-local down`.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from harness import interpreter, object_stores
from harness.waiting import until
from tests.dags.machine import celery_control, processes_in, supervise, worker_in
from tests.dags.scheduling.place import LIMIT_S, TRAIN, Place, place

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None
    or not all(interpreter(name).exists() for name in ("pipeline", "cluster", "servers"))
    or not Path("/usr/lib/postgresql").exists(),
    reason="needs PostgreSQL, Redis, and the environments pipeline, cluster and servers",
)


def test_run_goes_on_to_the_same_bytes_when_a_worker_and_each_server_is_killed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """January: the servers, with Celery, and Redis stays away. February: the other checkout's worker. March: everything, by `down`; then,
    with LocalExecutor, the database server and the API server."""
    with ExitStack() as stack:
        bucket = stack.enter_context(object_stores.s3())
        # A short path, for sockets lie below it.
        tiny = stack.enter_context(place(tmp_path_factory.mktemp("pg") / "project", "postgresql", "celery", bucket))
        with tiny.held("evaluate 2013-01"):
            run = tiny.airflow.trigger(TRAIN, partition_key="2013-01")
            tiny.attempt("evaluate 2013-01")
            kill_servers(tiny)
            supervise(tiny.root, "stopProcess", "redis")
        log = tiny.root / "var" / "airflow" / "logs" / "scheduler.log"
        until(lambda: "[Try 4 of " in log.read_text(), "more tries than a task has", limit_s=LIMIT_S)
        supervise(tiny.root, "startProcess", "redis")
        succeeded(tiny, run, "2013-01")
        assert tiny.airflow.tasks(TRAIN, run)["record"]["try_number"] == 1

        other, stage = tiny.another_checkout(), "evaluate 2013-02"
        # After Redis was killed: a queue that was added again is lost at the next reconnection (docs/how-to/airflow-executors.md).
        celery_control(tiny.root, "cancel_consumer", "default")
        with tiny.held(stage), other.held(stage):
            with worker_in(other.root, tiny.root, other.environment, LIMIT_S):
                run = tiny.airflow.trigger(TRAIN, partition_key="2013-02")
                other.attempt(stage)
            celery_control(tiny.root, "add_consumer", "default")
            tiny.give_up(run)
            tiny.attempt(stage)
        succeeded(tiny, run, "2013-02")

        stage = "evaluate 2013-03"
        with tiny.held(stage):
            run = tiny.airflow.trigger(TRAIN, partition_key="2013-03")
            tiny.attempt(stage)
            tiny.control("down")
            assert processes_in(tiny.root) == []
            tiny = replace(tiny, executor="local")
            tiny.begin()
            tiny.attempt(stage, after=1)
            kill_servers(tiny)
            supervise(tiny.root, "signalProcess", "api-server", "KILL")
        succeeded(tiny, run, "2013-03")


def succeeded(tiny: Place, run: str, month: str) -> None:
    assert tiny.airflow.wait(TRAIN, run, LIMIT_S) == "success", tiny.airflow.failures(TRAIN, run)
    assert tiny.recorded(TRAIN, run) == tiny.expected(month)


def kill_servers(tiny: Place) -> None:
    """Kill PostgreSQL, with Celery Redis too, and wait until others have taken their places."""
    before = servers(tiny)
    assert len(before) == 1 + (tiny.executor == "celery")
    for process in before:
        for part in (process, *process.children(recursive=True)):
            part.kill()
    until(lambda: len(found := servers(tiny)) == len(before) and not found & before, "them to start", limit_s=LIMIT_S)


def servers(tiny: Place) -> set[psutil.Process]:
    """The processes of PostgreSQL and Redis that the others are children of."""
    data = str(tiny.root / "var" / "airflow" / "postgresql" / "data")
    redis = f"127.0.0.1:{tiny.environment['BULKHEAD_AIRFLOW_REDIS_PORT']}"  # it shows itself so
    return {
        process
        for process in psutil.process_iter(["cmdline"])
        if data in (words := process.info["cmdline"] or []) or any(redis in word for word in words[:1])
    }
