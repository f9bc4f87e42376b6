"""`python -m fleet.control.reconciler ROOT`: keep the fleet as `fleet.yaml` and the store's channel `live` want it, with nobody there.

Twice a second it

- kills Envoy or replicas that hang; supervisord restarts what ends. A process hangs if it did not answer within a second (supervisord:
  two), four times in a row. One that has not answered since its start has the start limit of a replica;
- kills replicas that fail half of their requests while others of the same bundle do not;
- starts the fleet again where supervisord has ended or hangs. It is one of supervisord's programs, so each restarts the other;
- converges where something is other than it should be (`fleet.control.drift`);
- asks the controllers, such as the judge of a canary, what they want changed, and does it.

It looks without the fleet's lock, so it is in nobody's way, and acts with it. While another command holds the lock it does not act.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Never
from xmlrpc.client import Fault

from contract import command_line
from contract.errors import BulkheadError, UnavailableError
from contract.files import canonical_json, write_atomically
from fleet.configuration import state as fleet_state
from fleet.configuration.edit import Controller, Edit
from fleet.configuration.settings import PROJECT
from fleet.configuration.state import State
from fleet.control import controllers, history
from fleet.control.drift import Drift
from fleet.control.fleet import Fleet
from fleet.control.history import Cause
from fleet.control.program import NAME, kept_settings
from fleet.control.watch import PATIENCE, Watch
from fleet.envoy.proxy import Proxy
from fleet.monitoring.status import REFUSAL
from fleet.supervisor import heartbeat
from fleet.supervisor.lock import BusyError
from fleet.supervisor.supervision import ProcessState, Supervisor

_ROUND_S = 0.5
_SUPERVISOR_LIMIT_S = 2.0
_UP_LIMIT_S = 300.0
_STORE_S = 3.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
# supervisord restarts what has ended when it next wakes up: at a call, or once a second.
_WAKES = 2


@dataclass
class Pause:
    """The growing pause after failures of the same task; another task, or another cause of it, is tried at once."""

    task: object = None
    failures: int = 0
    until: float = 0.0

    def allows(self, task: object, now: float) -> bool:
        """Tell whether the task may be tried now."""
        return task != self.task or now >= self.until

    def failed(self, task: object, now: float) -> None:
        """Record a failure of the task."""
        self.failures = self.failures + 1 if task == self.task else 1
        self.task, self.until = task, now + min(_FIRST_PAUSE_S * 2 ** (self.failures - 1), _LONGEST_PAUSE_S)


@dataclass
class Reconciler:
    """The care for a fleet, round by round."""

    root: Path
    missed: int = 0
    work: Future[None] | None = None
    pause: Pause = field(default_factory=Pause)
    up: subprocess.Popen[bytes] | None = None
    up_began: float = 0.0
    live: str | None = None
    live_read_at: float = -_STORE_S

    def __post_init__(self) -> None:
        self.settings = kept_settings(self.root)
        self.state_path = self.settings.state
        self.watch = Watch(self.root)
        self.drift = Drift(self.settings, Proxy(self.settings))
        self.controllers = controllers.of(self.settings)
        self.worker = ThreadPoolExecutor(1)

    def look(self) -> None:
        """Check everything once, and begin what is to be done."""
        supervisor = Supervisor(self.root, _SUPERVISOR_LIMIT_S)
        try:
            programs = supervisor.states()
        except Fault:  # it is stopping
            return
        except UnavailableError as error:
            self.missed += 1
            if self.missed >= PATIENCE:
                self.start_again(str(error))
            return
        self.missed = 0
        own = programs.get(NAME)
        if own is None or own.pid != os.getpid():
            _say("there is another reconciler; this one ends")
            sys.exit(0)
        for name in self.watch.hanging(programs, self.settings.start_limit_s):
            _say(f"{name} does not answer: killing it, supervisord restarts it")
            supervisor.kill(name)
        state = fleet_state.load(self.state_path)
        for name in self.watch.failing(programs, state, self.drift.proxy):
            _say(f"{name} fails requests that others answer: killing it, supervisord restarts it")
            supervisor.kill(name)
        self._act(state, programs)

    def start_again(self, why: str) -> None:
        """Start the fleet again in a process of its own, which outlives this one and starts another reconciler."""
        if self.up is not None and self.up.poll() is None:
            if time.monotonic() - self.up_began > _UP_LIMIT_S:
                self.up.terminate()
            return
        _say(f"{why}: starting the fleet again")
        command = [sys.executable, "-m", "fleet.control.reconciler", str(self.root), why]
        self.up = subprocess.Popen(command, cwd=PROJECT)
        self.up_began = time.monotonic()

    def _act(self, state: State, programs: dict[str, ProcessState]) -> None:
        """Begin at most one thing; the controllers are asked in every round, since they measure."""
        edits = [edit for each in self.controllers if (edit := self._asked(each, state))]
        if self.work is not None and not self.work.done():
            return None
        now = time.monotonic()
        cause = self.drift.found(state, self.live, programs)
        for edit in edits:
            if self.pause.allows(edit.verb, now):
                return self._begin(edit.verb, Cause(edit.by, edit.why, edit.evidence), partial(Fleet.apply, edit=edit))
        if cause and self.pause.allows(cause, now):
            return self._begin(cause, cause, Fleet.reconcile)
        if now - self.live_read_at > _STORE_S:
            self.live_read_at = now
            self.work = self.worker.submit(self._read_live)
        return None

    def _asked(self, controller: Controller, state: State) -> Edit | None:
        try:
            return controller.step(state, time.time())
        except Exception as error:  # noqa: BLE001  # hung processes are to be replaced even so
            _say(f"{type(controller).__name__} failed: {error!r}")
            return None

    def _begin(self, task: object, cause: Cause, act: Callable[[Fleet], None]) -> None:
        self.work = self.worker.submit(self._do, task, cause, act)

    def _do(self, task: object, cause: Cause, act: Callable[[Fleet], None]) -> None:
        """Act on the fleet; tell a failure once, and pause before the next try."""
        try:
            act(Fleet(kept_settings(self.root), _say, cause, patience_s=0))
            self.pause = Pause()
        except BusyError:
            pass  # looked at again in the next round
        except Exception as error:  # noqa: BLE001  # whatever it is, the next round must come
            failure = error if isinstance(error, BulkheadError) else UnavailableError(repr(error))
            with suppress(OSError):
                self._tell(cause, failure)
            self.pause.failed(task, time.monotonic())

    def _tell(self, cause: Cause, failure: BulkheadError) -> None:
        text = " ".join(str(failure).split())
        _say(f"{cause.why}: {text}")
        write_atomically(self.root / REFUSAL, canonical_json({"by": cause.by, "why": cause.why, "failure": text}))
        history.append(self.root, cause, "apply", None, f"failed: {text}")

    def _read_live(self) -> None:
        with suppress(BulkheadError, OSError):
            channel = self.settings.open_store().read("live")
            self.live = channel.digest if channel else None


def _say(line: str) -> None:
    with suppress(OSError):  # even with a full disk, hung processes are to be replaced
        print(f"{time.strftime('%FT%TZ', time.gmtime())} {line}", flush=True)


def _wait(parent: int | None, seconds: float) -> bool:
    """Wait; return True at once when supervisord ends."""
    if parent is None:
        time.sleep(seconds)
        return False
    return bool(select.select([parent], [], [], seconds)[0])


def main(root: Path) -> Never:
    """Look at the fleet in `root` round by round, until SIGTERM."""
    # Not to supervisord: a broken pipe would end this process just when it is needed.
    with (root / "logs" / "repairs.log").open("a") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    reconciler, parent = Reconciler(root), None
    with suppress(OSError, AttributeError):  # supervisord has ended already, or this is not Linux
        parent = os.pidfd_open(os.getppid())
    while True:
        heartbeat.begin(root)
        reconciler.look()
        for _ in range(_WAKES):
            if _wait(parent, _ROUND_S / _WAKES):
                os.close(parent or 0)
                parent = None
                reconciler.start_again("supervisord has ended")
            if not reconciler.missed and reconciler.up is None:
                Supervisor(root, _SUPERVISOR_LIMIT_S).answers()


def start_again(root: Path, why: str) -> int:
    """Start the fleet again, as the reconciler; where `fleet.yaml` is refused, as it was before."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def run() -> int:
        """Bring the fleet up and return the exit code."""
        Fleet(kept_settings(root), _say, Cause(NAME, why)).up(keep=True)
        return 0

    return command_line.run(run, stopped="starting the fleet again stopped")


if __name__ == "__main__":
    if sys.argv[2:]:
        sys.exit(start_again(Path(sys.argv[1]), sys.argv[2]))
    main(Path(sys.argv[1]))
