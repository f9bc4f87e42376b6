"""What is read of processes, and that none outlives its block."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import processes, workspaces
from harness.waiting import until
from harness.workspaces import CommandFailedError, Cost

# Field 2 of /proc/<pid>/stat may hold blanks and brackets; 14 to 17 are the CPU times, in ticks.
STAT = "4711 (a ) b (c) S 42 4711 4711 0 -1 4194560 1 2 3 4 100 50 30 20 20 0 1 0 9 9 9"


def test_stat_gives_parent_and_cpu_seconds() -> None:
    parent, cpu_s = processes.parse_stat(STAT)
    assert parent == 42
    assert cpu_s == pytest.approx((100 + 50 + 30 + 20) / os.sysconf("SC_CLK_TCK"))


def test_descendants_are_found_whatever_their_order() -> None:
    parents = {5: 4, 4: 3, 3: 2, 9: 1, 2: 1, 7: 3}
    assert processes.descendants(3, parents) == {3, 4, 5, 7}
    assert processes.descendants(9, parents) == {9}


def test_children_and_commands_are_those_of_living_processes() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert child.pid in processes.children(os.getpid())
        until(lambda: processes.commands()[child.pid] == "sleep 60 ")
        assert processes.running_of([child.pid]) == {child.pid}
    finally:
        child.kill()
    until(lambda: not processes.running_of([child.pid]))  # a zombie, until it is waited for
    child.wait()
    assert child.pid not in processes.commands()


def test_cpu_time_of_a_tree_counts_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_STOP_LIMIT_S", 2.0)
    burn = "import time\nwhile time.process_time() < 0.5: pass\n"
    parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {burn + 'time.sleep(60)'!r}]); time.sleep(60)"
    with processes.running(
        [sys.executable, "-c", parent], cwd=tmp_path, env=os.environ, log=tmp_path / "log"
    ) as started:
        until(lambda: len(processes.tree(started.pid)) == 2 and processes.cpu_seconds(started.pid) >= 0.4)
        family = set(processes.tree(started.pid))
        assert len(family) == 2
    assert not processes.running_of(family)


def test_a_process_that_ignores_sigterm_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_STOP_LIMIT_S", 2.0)
    deaf = "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); "
    code = f"{deaf}subprocess.Popen([sys.executable, '-c', {deaf + 'time.sleep(60)'!r}]); time.sleep(60)"
    log = tmp_path / "log"
    with processes.running([sys.executable, "-c", code], cwd=tmp_path, env=os.environ, log=log) as started:
        until(lambda: log.read_text().count("deaf") == 2)
        family = set(processes.tree(started.pid))
        assert len(family) == 2
    assert not processes.running_of(family)


def test_timed_counts_cpu_time_apart_from_waiting(tmp_path: Path) -> None:
    code = "import time; time.sleep(0.3)\nwhile time.process_time() < 0.2: pass\nprint('done')"
    cost, printed = workspaces.timed([sys.executable, "-c", code], cwd=tmp_path, env=os.environ)
    assert printed == "done\n"
    assert cost.cpu_s >= 0.2
    assert cost.wall_s >= cost.cpu_s / 2 + 0.3 - 0.1


def test_timed_refuses_a_failed_command_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(CommandFailedError, match=r"ended with 3:\nno such table"):
        workspaces.timed(
            [sys.executable, "-c", "print('no such table'); raise SystemExit(3)"], cwd=tmp_path, env=os.environ
        )


def test_costs_add_up() -> None:
    assert Cost(1.0, 2.0) + Cost(0.5, 0.25) == Cost(1.5, 2.25)


def test_time_without_a_core_is_counted_when_two_processes_share_one() -> None:
    spin = "import os, time\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nwhile True: pass"
    busy = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(2)]

    def waited() -> float:
        return sum(processes.waited_seconds(each.pid) for each in busy)

    try:
        until(lambda: waited() > 0.2)
        assert waited() > 0.2
    finally:
        for each in busy:
            each.kill()
            each.wait()
