"""People are told when a task fails, and when nothing makes progress although nothing failed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from harness import processes
from harness.waiting import until
from tests.dags.people.conftest import Site

MONTH = "2013-01"


def schedulers(site: Site) -> list[int]:
    """The processes of the site's scheduler, its executor's workers among them."""
    here = {number for number in processes.commands() if works_in(number, site.root)}
    return [number for number in here if "scheduler" in processes.commands().get(number, "")]


def works_in(process: int, folder: Path) -> bool:
    try:
        return Path(f"/proc/{process}/cwd").readlink() == folder
    except OSError:
        return False


def send(process: int, number: int) -> None:
    with suppress(ProcessLookupError):  # the scheduler's children come and go
        os.kill(process, number)


@contextmanager
def hanging(numbers: list[int]) -> Iterator[None]:
    for number in numbers:
        send(number, signal.SIGSTOP)
    try:
        yield
    finally:
        for number in numbers:
            send(number, signal.SIGCONT)


def test_message_says_what_failed_and_what_to_do_when_a_task_fails(site: Site) -> None:
    site.fail("validate", 65)
    try:
        run = site.airflow.trigger("collect_and_validate", conf={"through": MONTH})
        assert site.airflow.wait("collect_and_validate", run, 120) == "failed"
    finally:
        site.fail("validate", None)
    until(lambda: run in [sent["run"] for sent in site.receiver.messages], "the alert", limit_s=120)
    (sent,) = (sent for sent in site.receiver.messages if sent["run"] == run)
    assert sent["title"] == f"collect_and_validate {MONTH}: validate failed"
    assert (sent["dag"], sent["month"], sent["task"]) == ("collect_and_validate", MONTH, "validate")
    assert "open the task's log" in sent["todo"]
    assert sent["link"].startswith(f"{site.airflow.url}/dags/collect_and_validate/runs/")
    assert "as the test wants it" not in str(sent)  # what the command printed may be data


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_watch_tells_once_when_the_scheduler_hangs_and_once_when_it_goes_on(site: Site) -> None:
    site.receiver.messages.clear()
    until(lambda: site.watch(900, "--once").returncode == 0, "progress", limit_s=120)
    with ExitStack() as hung:
        with site.holding("open"):
            run = site.airflow.trigger("monitor", conf={"through": MONTH})
            until(lambda: any(run in call for call in site.calls()), "the first task", limit_s=120)
            hung.enter_context(hanging(schedulers(site)))
        until(lambda: site.watch(1, "--once").returncode == 1, "the watch to find that nothing moves", limit_s=120)
        assert site.watch(1, "--once").returncode == 1
    (sent,) = site.receiver.messages
    assert sent["title"].startswith(f"No progress: monitor {MONTH}"), sent
    assert (sent["dag"], sent["month"], sent["run"]) == ("monitor", MONTH, run)
    assert "restart it when it hangs" in sent["todo"]
    assert site.airflow.wait("monitor", run, 120) == "success"
    until(lambda: site.watch(900, "--once").returncode == 0, "progress", limit_s=120)
    assert [sent["title"] for sent in site.receiver.messages[1:]] == ["Airflow makes progress again"]
