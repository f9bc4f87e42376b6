"""PostgreSQL killed in the middle of a run, under a real scheduler: it is started again, and the run goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil
import pytest

from harness import interpreter
from harness.waiting import until
from tests.dags.scheduling.place import LIMIT_S, TRAIN, place

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None
    or not all(interpreter(name).exists() for name in ("pipeline", "cluster"))
    or not Path("/usr/lib/postgresql").exists(),
    reason="needs PostgreSQL, Redis, and the environments pipeline and cluster",
)


def server(root: Path) -> psutil.Process | None:
    """The process of PostgreSQL that the others are children of."""
    data = str(root / "var" / "airflow" / "postgresql" / "data")
    found = [process for process in psutil.process_iter(["cmdline"]) if data in (process.info["cmdline"] or [])]
    return found[0] if found else None


@pytest.mark.parametrize("executor", ["local", "celery"])
def test_run_goes_on_to_the_same_bytes_when_the_database_server_is_killed(
    tmp_path_factory: pytest.TempPathFactory, executor: str
) -> None:
    # A short path, for sockets lie below it.
    with place(tmp_path_factory.mktemp("pg") / "project", "postgresql", executor) as tiny:
        with tiny.held("evaluate 2013-02"):
            run = tiny.airflow.trigger(TRAIN, partition_key="2013-02")
            tiny.attempt("evaluate 2013-02")
            killed = server(tiny.root)
            assert killed is not None
            for process in (killed, *killed.children(recursive=True)):
                process.kill()
            until(lambda: server(tiny.root) not in (None, killed), "it to be started again", limit_s=LIMIT_S)
        assert tiny.airflow.wait(TRAIN, run, LIMIT_S) == "success", tiny.airflow.failures(TRAIN, run)
        assert tiny.recorded(TRAIN, run) == tiny.expected("2013-02")
