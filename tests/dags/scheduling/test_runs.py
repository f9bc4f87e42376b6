"""Backfills, overtaking, late data, kills, freezes and a lost database under a real scheduler, on a project whose stages take milliseconds.

The tests share one Airflow and follow each other, as months do: each says which months have run before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psutil
import pytest

from contract.errors import EXIT_RETRY
from harness import interpreter
from harness.waiting import until
from tests.dags.scheduling.place import COLLECT, LIMIT_S, LONG_AGO, TRAIN, Place, place
from tests.faults.places import ODD

LATE = {"2013-02": "late"}  # rows of the month, once they have all come
FIRST = [f"evaluate 2013-0{month}" for month in (1, 2, 3)]
pytestmark = pytest.mark.skipif(
    not interpreter("pipeline").exists(), reason="needs the pipeline environment beside this one"
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("tiny") / ODD) as made:
        yield made


def backfilled(tiny: Place, count: int) -> list[dict[str, Any]]:
    """All runs of backfills, by month, when they have ended."""
    return tiny.wait(lambda: tiny.runs(TRAIN, of_backfill=True), count, f"{count} runs of backfills")


def keys(runs: list[dict[str, Any]]) -> list[str]:
    return [run["partition_key"] for run in runs]


@pytest.fixture(scope="module")
def backfill(tiny: Place) -> Iterator[Callable[[], None]]:
    """A backfill of January to March that fills its pool, held in `evaluate` until the function is called."""
    with ExitStack() as held:
        held.enter_context(tiny.held(*FIRST))
        tiny.backfill("2013-01", "2013-03", runs=3)
        until(lambda: begun(tiny) == 2, "the pool to be full", limit_s=LIMIT_S)
        yield held.close


def begun(tiny: Place) -> int:
    """How many of the backfill's stages have begun."""
    return sum(bool(tiny.began(stage)) for stage in FIRST)


def test_newest_month_overtakes_a_backfill_in_progress(tiny: Place, backfill: Callable[[], None]) -> None:
    """June, which is announced meanwhile, is trained on."""
    announced = tiny.airflow.trigger(COLLECT, partition_key="2013-06")
    assert tiny.airflow.wait(COLLECT, announced, LIMIT_S) == "success", tiny.airflow.failures(COLLECT, announced)
    (newest,) = tiny.wait(lambda: tiny.runs(TRAIN, of_backfill=False), 1, "June's training")
    assert newest["state"] == "success", tiny.airflow.failures(TRAIN, newest["dag_run_id"])
    assert (newest["partition_key"], newest["run_type"]) == ("2013-06", "asset_triggered")
    assert tiny.recorded(TRAIN, newest["dag_run_id"]) == tiny.expected("2013-06")
    assert [run["state"] for run in tiny.runs(TRAIN, of_backfill=True)] == ["running"] * 3
    assert begun(tiny) == 2


def test_a_killed_stage_a_killed_worker_and_a_frozen_task_cost_an_attempt_and_no_byte(
    tiny: Place, backfill: Callable[[], None]
) -> None:
    """January: the stage is killed. February: the executor's worker. March: all that works for the task stops, and wakes late."""
    pool = {"name": "backfills", "slots": 4, "description": "", "include_deferred": False}
    tiny.airflow.call("PATCH", "/api/v2/pools/backfills", pool)
    killed, orphaned, stopped = (tiny.attempt(stage) for stage in FIRST)
    killed.kill()
    worker_of(orphaned).kill()
    frozen = [*lineage(stopped), worker_of(stopped)]
    for process in frozen:
        process.suspend()
    january, february, march = (run["dag_run_id"] for run in tiny.runs(TRAIN, of_backfill=True))
    until(lambda: tiny.attempts(january) >= 2, "January to be tried again", limit_s=LIMIT_S)
    tiny.give_up(february)
    tiny.give_up(march)
    backfill()
    runs = backfilled(tiny, 3)
    for process in frozen:
        if process.is_running():
            process.resume()
    for run in runs:
        assert run["state"] == "success", tiny.airflow.failures(TRAIN, run["dag_run_id"])
        assert tiny.attempts(run["dag_run_id"]) >= 2
        assert tiny.recorded(TRAIN, run["dag_run_id"]) == tiny.expected(run["partition_key"])
    until(lambda: not any(process.is_running() for process in frozen[:-2]), "what was frozen to end")
    assert [tiny.written(stage) for stage in (FIRST[0], FIRST[2])] == [1, 1]


def lineage(stage: psutil.Process) -> list[psutil.Process]:
    """A stage and what started it, up to the task's process."""
    found = [stage]
    while "airflow worker" not in " ".join(found[-1].cmdline()):
        found.append(found[-1].parent())
    return found


def worker_of(stage: psutil.Process) -> psutil.Process:
    """The executor's worker, which beats for the task."""
    return lineage(stage)[-1].parent()


def test_backfill_takes_the_months_without_a_run_forwards_and_a_failed_one_again(tiny: Place) -> None:
    """April and May, since the others have run; May fails at first."""
    bad = tiny.root / "var" / "bad" / "2013-05"
    bad.touch()
    tiny.backfill("2013-01", "2013-06")
    april, may = backfilled(tiny, 5)[3:]
    assert [(run["partition_key"], run["state"]) for run in (april, may)] == [
        ("2013-04", "success"),
        ("2013-05", "failed"),
    ]
    assert april["end_date"] <= may["start_date"]

    bad.unlink()
    tiny.backfill("2013-01", "2013-06", reprocess="failed")
    again = backfilled(tiny, 6)
    assert keys(again)[3:] == ["2013-04", "2013-05", "2013-05"]
    assert again[-1]["state"] == "success"
    for run in (april, again[-1]):
        assert tiny.recorded(TRAIN, run["dag_run_id"]) == tiny.expected(run["partition_key"])


def test_late_rows_change_their_month_and_all_that_hangs_on_it_though_the_scheduler_is_killed(tiny: Place) -> None:
    """February's, which come when June has been trained on and the lock of that run was committed. March is asked for again."""
    june = next(run for run in tiny.runs(TRAIN) if run["partition_key"] == "2013-06")
    tiny.commit_lock(TRAIN, june["dag_run_id"])
    tiny.deliver("2013-02", "late")
    name = "validate 2013-06"
    before = len(tiny.began(name))
    with tiny.held(name):
        run = tiny.airflow.trigger(COLLECT, conf={"through": "2013-06", "again": ["2013-02"]})
        kill_scheduler_of(tiny, tiny.attempt(name, after=before))
    assert tiny.airflow.wait(COLLECT, run, LIMIT_S) == "success", tiny.airflow.failures(COLLECT, run)
    _, after = tiny.wait(lambda: tiny.runs(TRAIN, of_backfill=False), 2, "June's second training")
    count = len(tiny.runs(TRAIN, of_backfill=True))
    tiny.backfill("2013-03", "2013-03", reprocess="completed")
    march = [run for run in backfilled(tiny, count + 1) if run["partition_key"] == "2013-03"]
    assert [run["state"] for run in (after, *march)] == ["success"] * 3
    assert tiny.recorded(TRAIN, after["dag_run_id"]) == tiny.expected("2013-06", LATE)
    first, second = (tiny.recorded(TRAIN, run["dag_run_id"]) for run in march)
    assert first == tiny.expected("2013-03")
    # The committed lock names later months too, which the run leaves alone.
    assert tiny.expected("2013-03", LATE).items() <= second.items()


def kill_scheduler_of(tiny: Place, stage: psutil.Process) -> None:
    """Kill the scheduler whose executor works on a stage, and let two minutes pass; another one takes its place."""
    scheduler = worker_of(stage).parent()
    assert "scheduler" in scheduler.cmdline()
    scheduler.kill()
    until(lambda: not scheduler.is_running(), "its end")
    # The next one, which looks whether this one still beats, is yet being started.
    tiny.execute(
        f"UPDATE job SET latest_heartbeat = '{LONG_AGO}' WHERE job_type = 'SchedulerJob' AND state = 'running'"
    )


def test_new_database_takes_the_place_of_one_that_is_gone_and_its_scheduler_catches_up(tiny: Place) -> None:
    """Late rows of June, in the middle of whose run the file goes; the compiled graph then asks for all months since May."""
    before, name = kept(tiny), "validate 2013-06"
    count = len(tiny.began(name))
    tiny.deliver("2013-06", "late")
    with tiny.held(name):
        tiny.airflow.trigger(COLLECT, conf={"through": "2013-06", "again": ["2013-06"]})
        stage = tiny.attempt(name, after=count)
        for file in (tiny.root / "var" / "airflow").glob("airflow.db*"):
            file.unlink()
        status = tiny.control("status", check=False)
        said = "airflow.db, Airflow's database, is gone or broken"
        assert (status.returncode, said in status.stdout) == (EXIT_RETRY, True)
        tiny.compile("--catch-up-from", "2013-05")
        tiny.begin()
        tiny.airflow.call("PATCH", f"/api/v2/dags/{TRAIN}", {"is_paused": True})
        until(lambda: not stage.is_running(), "the interrupted stage to end", limit_s=LIMIT_S)
    runs = tiny.wait(lambda: tiny.runs(COLLECT), 2, "the runs of May and June")
    assert [(run["partition_key"], run["run_type"], run["state"]) for run in runs] == [
        ("2013-05", "scheduled", "success"),
        ("2013-06", "scheduled", "success"),
    ]
    for run in runs:
        wanted = tiny.expected(run["partition_key"], LATE | {"2013-06": "late"})
        del wanted["evaluated.txt"]  # the committed lock's, in this DAG
        assert wanted.items() <= tiny.recorded(COLLECT, run["dag_run_id"]).items()
    assert before.items() <= kept(tiny).items()


def kept(tiny: Place) -> dict[str, bytes]:
    """What runs have made, by path: records, and objects of DVC's cache under their final names."""
    records = (tiny.root / "var" / "runs" / "locks").glob("[!.]*")
    objects = (tiny.root / ".dvc" / "cache" / "files" / "md5").glob("[0-9a-f][0-9a-f]/*")
    finished = (path for path in objects if re.fullmatch(r"[0-9a-f]{30}(\.dir)?", path.name))
    return {str(path): path.read_bytes() for path in (*records, *finished)}
