"""Two Envoys share a fleet's ports: callers with a new connection for each request, while one is killed, supervised or not."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from fleet.supervisor.processes import send
from harness import processes
from harness.waiting import until
from tests.fleet.conftest import FleetCommand
from tests.fleet.crowds.load import ask


@dataclass
class Strangers:
    """What callers saw whose every request has a connection of its own: right answers, and when requests were sent and failed."""

    right: int = 0
    refused: int = 0
    lost: list[tuple[float, float]] = field(default_factory=list)


@contextmanager
def strangers(fleet: FleetCommand) -> Iterator[Strangers]:
    seen, ended, request = Strangers(), threading.Event(), fleet.golden_request()

    def ask_on() -> None:
        while not ended.is_set():
            sent = time.monotonic()
            try:
                status, _ = ask(fleet.http_port, body=request)
                seen.right += status == 200
            except ConnectionRefusedError:
                seen.refused += 1
            except (OSError, HTTPException):
                seen.lost.append((sent, time.monotonic()))
            ended.wait(0.005)

    threads = [threading.Thread(target=ask_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def envoys(fleet: FleetCommand) -> set[int]:
    """The processes that are an Envoy, without the shells that start them."""
    found = set()
    for pid in fleet.envoy():
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[0] != b"/bin/sh" and b"--restart-epoch" in words:
                found.add(pid)
    return found


def killed(pids: list[int]) -> tuple[float, float]:
    """Kill processes; when that began, and when they were gone."""
    began = time.monotonic()
    processes.kill(pids)
    return began, time.monotonic()


def supervisord(fleet: FleetCommand) -> int:
    return int((fleet.root / "fleet" / "supervisord.pid").read_text())


def test_connections_are_not_refused_when_an_envoy_is_killed_and_nobody_starts_it_again(fleet: FleetCommand) -> None:
    fleet.serve(fleet.bundles.first, size=1)
    before, repairers = supervisord(fleet), fleet.pids("reconciler")
    repairers += fleet.pids(f"guard-{before}")
    one, _ = programs(fleet)
    send(repairers, signal.SIGSTOP)
    try:
        with strangers(fleet) as seen:
            killed([before])
            until(lambda: seen.right > 50, "answers without supervisord")
            began, gone = killed(fleet.pids(one))
            answered = seen.right
            until(lambda: seen.right > answered + 50, "the other Envoy to answer")
    finally:
        send(repairers, signal.SIGCONT)
    assert seen.refused == 0
    assert all(sent <= gone and failed >= began for sent, failed in seen.lost), (began, gone, seen.lost)
    until(lambda: fleet.run("status").returncode == 0 and len(envoys(fleet)) == 2, "the fleet to heal", limit_s=120)


def test_envoys_outlive_supervisord_and_the_next_one_starts_them_again(fleet: FleetCommand) -> None:
    fleet.serve(fleet.bundles.first, size=1)
    before, own = supervisord(fleet), envoys(fleet)
    with strangers(fleet) as seen:
        killed([before])
        until(
            lambda: fleet.run("status").returncode == 0 and supervisord(fleet) != before,
            "it to be replaced",
            limit_s=120,
        )
        assert (envoys(fleet), seen.refused, seen.lost) == (own, 0, [])
    killed([*own])
    until(
        lambda: fleet.run("status").returncode == 0 and len(envoys(fleet) - own) == 2, "both to be started", limit_s=120
    )


def test_no_request_fails_when_both_envoys_are_replaced_by_another_version(
    fleet: FleetCommand,
) -> None:
    fleet.serve(fleet.bundles.first, size=1)
    own = envoys(fleet)
    with strangers(fleet) as seen, fleet.under_load(pause_s=0.02) as load:
        for name in programs(fleet):  # as if they were of another version
            (fleet.root / "fleet" / "programs" / f"{name}.conf").unlink()
        assert fleet("up")["ready"]
    assert (seen.refused, seen.lost) == (0, [])
    load.check(fleet.bundles.first)
    assert len(envoys(fleet)) == 2
    assert not envoys(fleet) & own


def programs(fleet: FleetCommand) -> list[str]:
    """The programs that are Envoys, by what supervisord was told."""
    return [path.stem for path in (fleet.root / "fleet" / "programs").glob("envoy-*.conf")]
