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
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Never, TextIO
from xmlrpc.client import Fault

from contract import command_line
from contract.errors import FINAL_EXIT_CODES, BulkheadError, UnavailableError
from contract.files import canonical_json, write_atomically
from fleet.configuration import history
from fleet.configuration import state as fleet_state
from fleet.configuration.changes import Cause
from fleet.configuration.edit import Controller, Edit
from fleet.configuration.settings import PROJECT
from fleet.configuration.state import State
from fleet.control import controllers
from fleet.control.drift import Drift
from fleet.control.fleet import APPLY, REPAIR, Fleet
from fleet.control.program import NAME, kept_settings
from fleet.control.watch import PATIENCE, Watch
from fleet.envoy.proxy import Proxy
from fleet.isolation import files
from fleet.monitoring.status import REFUSAL
from fleet.supervisor import heartbeat, processes
from fleet.supervisor.guard import START_LIMIT_S
from fleet.supervisor.lock import BusyError
from fleet.supervisor.supervision import ProcessState, Supervisor

_ROUND_S = 0.5
_SUPERVISOR_LIMIT_S = 2.0
_STORE_S = 3.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _LONGEST_PAUSE_OF_FINAL_S = 1.0, 60.0, 600.0
# supervisord restarts what has ended when it next wakes up: at a call, or once a second.
_WAKES = 2


@dataclass
class Pauses:
    """The growing pauses after failures, by task: what failed is not tried again and again."""

    failures: dict[object, tuple[int, float]] = field(default_factory=dict)

    def allow(self, task: object, now: float) -> bool:
        """Tell whether the task may be tried now."""
        return now >= self.failures.get(task, (0, now))[1]

    def failed(self, task: object, now: float, *, can_pass: bool) -> None:
        """Record a failure of the task; the longest pause depends on whether it can pass by itself."""
        count = self.failures.get(task, (0, now))[0]
        pause_s = min(_FIRST_PAUSE_S * 2**count, _LONGEST_PAUSE_S if can_pass else _LONGEST_PAUSE_OF_FINAL_S)
        self.failures[task] = count + 1, now + pause_s

    def succeeded(self, task: object) -> None:
        """Forget the failures of the task."""
        self.failures.pop(task, None)


class Reconciler:
    """The care for the fleet in `root`, round by round."""

    def __init__(self, root: Path) -> None:
        self._root, self._settings = root, kept_settings(root)
        self._watch = Watch(root)
        self._drift = Drift(self._settings, Proxy(self._settings))
        self._controllers = controllers.of(self._settings)
        # A thread of its own: a look at a store that hangs holds up nothing that is to be done.
        self._worker, self._reader = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._work: Future[None] | None = None
        self._reading: Future[None] | None = None
        self._pauses = Pauses()
        self._missed = 0
        self._stale_files = ""
        self._starting: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        # The store's live bundle, and the state's time of change when it was read: a command that has moved it since knows better.
        self._live: tuple[str | None, int] = None, 0
        self._live_read_at = -_STORE_S
        self._guard: int | None = None

    @property
    def is_at_rest(self) -> bool:
        """Whether supervisord answers, so that a call wakes it up."""
        return not self._missed

    def look(self) -> None:
        """Check everything once, and begin what is to be done."""
        supervisor = Supervisor(self._root, _SUPERVISOR_LIMIT_S)
        try:
            programs = supervisor.states()
        except Fault:  # it is stopping
            return
        except UnavailableError as error:
            self._missed += 1
            if self._missed >= PATIENCE:
                self.start_again(str(error))
            return
        self._missed = 0
        own = programs.get(NAME)
        if own is None or not own.pid:
            # Whoever started this supervisord was killed before it could add a reconciler.
            self.start_again("supervisord has no reconciler")
            return
        if own.pid != os.getpid():
            _say("there is another reconciler; this one ends")
            self._await_start()
            sys.exit(0)
        for name in self._watch.hanging(programs, self._settings.start_limit_s):
            _say(f"{name} does not answer: killing it, supervisord restarts it")
            supervisor.kill(name)
        state = fleet_state.load(self._settings.state)
        for name in self._watch.failing(programs, state, self._drift.proxy):
            _say(f"{name} fails requests that others answer: killing it, supervisord restarts it")
            supervisor.kill(name)
        self._renew_files()
        self._act(state, programs)

    def _renew_files(self) -> None:
        """Give replicas today's API keys and certificates; tell a failure once."""
        try:
            files.renew(self._settings)
            failure = ""
        except (BulkheadError, OSError) as error:
            failure = f"replicas keep their old files: {error}"
        if failure not in ("", self._stale_files):
            _say(failure)
        self._stale_files = failure

    def start_again(self, why: str) -> None:
        """Start the fleet again in a process of its own, which outlives this one and starts another reconciler."""
        if self._starting is not None and self._starting.poll() is None:
            if time.monotonic() - self._started_at > START_LIMIT_S:
                self._starting.kill()  # which one that is stopped cannot miss
            return
        _say(f"{why}: starting the fleet again")
        command = [sys.executable, "-m", "fleet.control.reconciler", str(self._root), why]
        self._starting, self._started_at = subprocess.Popen(command, cwd=PROJECT), time.monotonic()

    def _await_start(self) -> None:
        """Wait for the end of what this process started, and end it after its limit: the fleet's lock goes with it."""
        if self._starting is not None:
            try:
                self._starting.wait(max(0.0, self._started_at + START_LIMIT_S - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._starting.kill()

    def guard(self, supervisord: int) -> None:
        """Keep a guard running, which starts the fleet again where supervisord and this process have ended."""
        if self._guard is None or not processes.lives(self._guard):
            why = "supervisord and the reconciler have ended"
            command = [sys.executable, "-m", "fleet.control.reconciler", str(self._root), why]
            self._guard = Supervisor(self._root).guard(supervisord, command)

    def _act(self, state: State, programs: Mapping[str, ProcessState]) -> None:
        """Begin at most one thing; the controllers are asked in every round, since they measure."""
        edits, now = [edit for each in self._controllers if (edit := self._asked(each, state))], time.monotonic()
        if self._work is not None and not self._work.done():
            return
        if now - self._live_read_at > _STORE_S and (self._reading is None or self._reading.done()):
            self._live_read_at = now
            self._reading = self._reader.submit(self._read_live)
        live, read_at = self._live
        repair, change = self._drift.found(state, live if read_at == self._changed_at() else None, programs)
        if repair is None and change is None:
            with suppress(OSError):  # on a disk that is read-only, even where it is not there
                (self._root / REFUSAL).unlink(missing_ok=True)
        for edit in edits:
            task = (edit.verb, edit.bundle, edit.value)
            if self._pauses.allow(task, now):
                grounds = Cause(edit.by, edit.why, edit.evidence)
                self._begin(task, edit.verb, grounds, partial(Fleet.apply, edit=edit))
                return
        # A repair needs neither the file nor the store, which may be wrong or away.
        for verb, cause, act in ((REPAIR, repair, Fleet.repair), (APPLY, change, Fleet.reconcile)):
            key = (verb, cause and cause.why, self._drift.content)
            if cause and self._pauses.allow(key, now):
                self._begin(key, verb, cause, act)
                return

    def _asked(self, controller: Controller, state: State) -> Edit | None:
        try:
            return controller.step(state, time.time())
        except Exception as error:  # noqa: BLE001  # hung processes are to be replaced even so
            _say(f"{type(controller).__name__} failed: {error!r}")
            return None

    def _begin(self, task: object, verb: str, cause: Cause, act: Callable[[Fleet], None]) -> None:
        self._work = self._worker.submit(self._do, task, verb, cause, act)

    def _do(self, task: object, verb: str, cause: Cause, act: Callable[[Fleet], None]) -> None:
        """Act on the fleet; tell a failure once, and pause before the next try."""
        try:
            act(Fleet(kept_settings(self._root), _say, cause, patience_s=0))
            self._pauses.succeeded(task)
        except BusyError:
            pass  # looked at again in the next round
        except Exception as error:  # noqa: BLE001  # whatever it is, the next round must come
            failure = error if isinstance(error, BulkheadError) else UnavailableError(repr(error))
            can_pass = failure.exit_code not in FINAL_EXIT_CODES
            self._pauses.failed(task, time.monotonic(), can_pass=can_pass)
            _say(f"{cause.why}: {failure}")
            content = {"by": cause.by, "why": cause.why, "failure": " ".join(str(failure).split())}
            with suppress(OSError):
                write_atomically(self._root / REFUSAL, canonical_json(content))
            history.append(self._root, cause, verb, None, history.verdict_of(failure))

    def _changed_at(self) -> int:
        try:
            return self._settings.state.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _read_live(self) -> None:
        changed_at = self._changed_at()
        with suppress(BulkheadError, OSError):
            channel = self._settings.open_store().read("live")
            self._live = (channel.digest if channel else None), changed_at


def _say(line: str) -> None:
    with suppress(OSError):  # even with a full disk, hung processes are to be replaced
        print(f"{time.strftime('%FT%TZ', time.gmtime())} {line}", flush=True)


def _log(root: Path) -> TextIO:
    try:
        return (root / "logs" / "repairs.log").open("a")
    except OSError:  # even with a disk that is read-only, hung processes are to be replaced
        return Path(os.devnull).open("a")


def _wait(parent: int | None, seconds: float) -> bool:
    """Wait; return True at once when supervisord ends."""
    if parent is None:
        time.sleep(seconds)
        return False
    return bool(select.select([parent], [], [], seconds)[0])


def main(root: Path) -> Never:
    """Look at the fleet in `root` round by round, until SIGTERM."""
    # Not to supervisord: a broken pipe would end this process just when it is needed.
    with _log(root) as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    reconciler, parent, supervisord = Reconciler(root), None, os.getppid()
    with suppress(OSError, AttributeError):  # supervisord has ended already, or this is not Linux
        parent = os.pidfd_open(supervisord)
    while True:
        if parent is not None:
            reconciler.guard(supervisord)
        heartbeat.begin(root)
        reconciler.look()
        for _ in range(_WAKES):
            if _wait(parent, _ROUND_S / _WAKES):
                os.close(parent or 0)
                parent = None
                reconciler.start_again("supervisord has ended")
            if reconciler.is_at_rest:
                Supervisor(root, _SUPERVISOR_LIMIT_S).answers()


def start_again(root: Path, why: str) -> int:
    """Start supervisord again, with the reconciler, which does the rest."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def run() -> int:
        """Start it and return the exit code."""
        Fleet(kept_settings(root), _say, Cause(NAME, why)).start()
        return 0

    return command_line.run(run, stopped="starting the fleet again stopped")


if __name__ == "__main__":
    if sys.argv[2:]:
        sys.exit(start_again(Path(sys.argv[1]), sys.argv[2]))
    main(Path(sys.argv[1]))
