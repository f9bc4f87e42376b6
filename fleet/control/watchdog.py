"""`python -m fleet.control.watchdog ROOT`: kill hung processes, so that supervisord restarts them.

supervisord restarts processes that end; the watchdog kills those that hang: Envoy and replicas. Where supervisord itself hangs or is
gone, it runs `fleet up`. It is one of supervisord's programs, so each restarts the other. A process hangs if it did not answer within a
second (supervisord: two), four times in a row. One that has not answered since its start has the start limit of a replica.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault

from contract.errors import UnavailableError
from contract.files import canonical_json
from fleet.configuration.settings import PROJECT, Settings
from fleet.configuration.state import socket_of
from fleet.envoy import balancer
from fleet.supervisor import heartbeat, unix_http
from fleet.supervisor.supervision import ProcessState, Program, Supervisor, write_privately

NAME = "watchdog"
_PATIENCE = 4
_ROUND_S = 0.5
_ANSWER_LIMIT_S = 1.0
_SUPERVISOR_LIMIT_S = 2.0
_UP_LIMIT_S = 300.0
# supervisord restarts what has ended when it next wakes up: at a call, or once a second.
_WAKES = 2
_SETTINGS = "watchdog.json"


@dataclass
class Seen:
    """The history of one process: whether it ever answered, and how often it failed to in a row."""

    answered: bool = False
    missed: int = 0

    def hangs(self, answers: bool, age_s: float, start_limit_s: float) -> bool:
        """Record an answer or its lack; tell whether the process hangs."""
        self.answered = self.answered or answers
        self.missed = 0 if answers else self.missed + 1
        return self.missed >= _PATIENCE and (self.answered or age_s > start_limit_s)


@dataclass
class Watchdog:
    """The watch over a fleet, round by round."""

    root: Path
    seen: dict[tuple[str, int], Seen] = field(default_factory=dict)
    missed: int = 0

    def look(self) -> None:
        """Check every process once."""
        supervisor = Supervisor(self.root, _SUPERVISOR_LIMIT_S)
        try:
            programs = supervisor.states()
        except Fault:  # it is stopping
            return
        except UnavailableError as error:
            self.missed += 1
            if self.missed >= _PATIENCE:
                self._up(str(error))
            return
        self.missed = 0
        own = programs.get(NAME)
        if own is None or own.pid != os.getpid():
            _say("there is another watchdog; this one ends")
            sys.exit(0)
        for name in self._hanging(programs):
            _say(f"{name} does not answer: killing it, supervisord restarts it")
            supervisor.kill(name)

    def _hanging(self, programs: Mapping[str, ProcessState]) -> list[str]:
        running = {name: each for name, each in programs.items() if each.state == "RUNNING" and name != NAME}
        # Concurrently, since each hung process takes the whole limit.
        with ThreadPoolExecutor(len(running) or 1) as pool:
            answers = dict(zip(running, pool.map(self._answers, running), strict=True))
        # By process id too: a restarted process has no misses.
        self.seen = {(name, each.pid): self.seen.get((name, each.pid), Seen()) for name, each in running.items()}
        limit_s = float(_settings(self.root)["start_limit_s"])
        return [
            name
            for (name, _), each in self.seen.items()
            if each.hangs(answers[name], time.time() - running[name].started_at, limit_s)
        ]

    def _answers(self, name: str) -> bool:
        if balancer.epochs([name]):
            return unix_http.answers(self.root / "envoy.sock", "/ready", limit_s=_ANSWER_LIMIT_S)
        # Not /readyz: a replica that is not ready need not hang.
        return unix_http.answers(socket_of("http", name, self.root), "/livez", limit_s=_ANSWER_LIMIT_S)

    def _up(self, why: str) -> None:
        _say(f"{why}: running it")
        environment = os.environ | _settings(self.root)["environment"]
        try:
            command = [sys.executable, "-m", "fleet", "up"]
            subprocess.run(command, cwd=PROJECT, env=environment, timeout=_UP_LIMIT_S, check=False)
        except subprocess.TimeoutExpired:
            _say(f"`fleet up` did not end within {_UP_LIMIT_S:g} s; trying again")


def program(settings: Settings) -> Program:
    """Return the watchdog as a program; it keeps today's settings of the environment, for `fleet up`."""
    kept = {"environment": dict(settings.environment), "start_limit_s": settings.start_limit_s}
    write_privately(settings.root / _SETTINGS, canonical_json(kept))
    command = [sys.executable, "-m", "fleet.control.watchdog", str(settings.root)]
    return Program(NAME, command, settings.root, {"PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"})


def _settings(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / _SETTINGS).read_bytes())
    return found


def _say(line: str) -> None:
    with suppress(OSError):  # even with a full disk, hung processes are to be replaced
        print(f"{time.strftime('%FT%TZ', time.gmtime())} {line}", flush=True)


def main(root: Path) -> None:
    """Look at the fleet in `root` round by round, until SIGTERM."""
    # Not to supervisord: a broken pipe would end this process and its `fleet up` just when they are needed.
    with (root / "logs" / "repairs.log").open("a") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    watchdog = Watchdog(root)
    while True:
        heartbeat.begin(root)
        watchdog.look()
        for _ in range(_WAKES):
            time.sleep(_ROUND_S / _WAKES)
            if not watchdog.missed:
                Supervisor(root, _SUPERVISOR_LIMIT_S).answers()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
