"""Processes under supervisord, controlled through a Unix socket: the fleet's Envoys and replicas, or the components of Airflow."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import Faults

from contract.errors import UnavailableError
from contract.files import atomic_path, write_atomically
from fleet.supervisor import guard, processes
from fleet.supervisor.unix_http import UnixConnection

_START_LIMIT_S = 10.0
_ANSWER_LIMIT_S = 5.0
_STOP_LIMIT_S = 20  # a replica answers accepted requests within the route's 10 s
# Relative paths are relative to the fleet's root, supervisord's working directory. It would split absolute ones in `files` at spaces, and
# expand `%` once in some settings and twice in others, such as `stdout_logfile`.
_MAIN = """[supervisord]
logfile = logs/supervisord.log
logfile_maxbytes = 5MB
logfile_backups = 2
pidfile = supervisord.pid
childlogdir = logs
umask = 077

[unix_http_server]
file = supervisor.sock
chmod = 0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[include]
files = programs/*.conf
"""
_PROGRAM = """[program:{name}]
command = {command}
directory = {directory}
environment = {environment}
autorestart = true
# Whatever ends is started again at once: with more than 0 a program that ends early waits for a pause that grows.
startsecs = 0
stopwaitsecs = {stop_limit}
stopasgroup = true
killasgroup = true
redirect_stderr = true
stdout_logfile = logs/{name}.log
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 2
"""


@dataclass(frozen=True)
class Program:
    """A process to be kept alive; its log is `logs/<name>.log`."""

    name: str
    command: Sequence[str]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_limit_s: int = _STOP_LIMIT_S


@dataclass(frozen=True)
class ProcessState:
    """A program's state in supervisord's terms: `state` as in its manual (RUNNING, BACKOFF …), `pid` 0 while it does not run."""

    state: str
    pid: int
    started_at: int


class _NotRunningError(UnavailableError):
    """Nothing listens at supervisord's socket."""


class Supervisor:
    """The supervisord of one fleet, whose files lie in `root`. Each call to it must be answered within `limit_s`; `command` starts it."""

    def __init__(self, root: Path, limit_s: float = _ANSWER_LIMIT_S, command: str = "fleet up") -> None:
        self._root, self._limit_s, self._command = root, limit_s, command
        self._programs = root / "programs"
        self._socket = root / "supervisor.sock"

    def is_running(self) -> bool:
        """Tell whether supervisord runs.

        Raises:
            UnavailableError: it does, but does not answer.
        """
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except (_NotRunningError, xmlrpc.client.Fault):  # a fault: it is stopping
            return False

    def answers(self) -> bool:
        """Tell whether supervisord runs and answers."""
        try:
            return self.is_running()
        except UnavailableError:
            return False

    def start(self, environment: Mapping[str, str], program: Program, prefix: Sequence[str] = ()) -> None:
        """Start supervisord in the background, with one program, in place of one that hangs.

        The programs of an earlier one run on: see `strays`.

        Args:
            prefix: of its command.

        Raises:
            UnavailableError: it does not start; with its output.
        """
        # The marked process without a program is supervisord itself.
        processes.send(processes.programs(self._mark).get("", ()), signal.SIGKILL)
        for directory in (self._root / "logs", self._programs):
            directory.mkdir(parents=True, exist_ok=True)
        for left in self._programs.glob("*.conf"):
            left.unlink()
        # Already there when supervisord starts: whoever starts it may be killed before the next call.
        self._write(program)
        configuration = self._root / "supervisord.conf"
        write_atomically(configuration, _MAIN.encode())
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)],
            # Without the mark of a program: whoever starts this may be one of another supervisor's.
            env={name: value for name, value in environment.items() if name != processes.PROGRAM_MARK} | self._mark,
            cwd=self._root,
            capture_output=True,
            text=True,
            check=False,
        )
        deadline = time.monotonic() + _START_LIMIT_S
        while not self.answers():
            if done.returncode or time.monotonic() > deadline:
                raise UnavailableError(
                    f"supervisord did not start:\n{done.stdout}{done.stderr}{self.log('supervisord')}"
                )
            time.sleep(0.05)

    def states(self) -> dict[str, ProcessState]:
        """Return the state of every program, by name."""
        return {
            info["name"]: ProcessState(info["statename"], info["pid"], info["start"])
            for info in self._call("getAllProcessInfo")
        }

    def strays(self) -> set[str]:
        """Return the programs whose supervisord was killed and that still run."""
        supervised = self.states() if self.is_running() else {}
        found = set(processes.programs(self._mark)) - {""} - set(supervised)
        return {name for name in found if not name.startswith(guard.PREFIX)}

    @property
    def process(self) -> int | None:
        """The process id of supervisord; None where it does not run."""
        try:
            return int(self._call("getPID"))
        except UnavailableError:
            return None

    def is_guarded(self, supervisord: int) -> bool:
        """Tell whether a guard waits for the end of that supervisord."""
        return bool(self._guards(supervisord))

    def guard(self, supervisord: int, command: Sequence[str]) -> int:
        """Run a guard of that supervisord, which would then run the command, unless there is one; return its process id."""
        words = [sys.executable, "-m", "fleet.supervisor.guard", str(supervisord), str(self._socket), *command]
        # Whoever calls may bear another supervisor's mark: a task of Airflow that deploys.
        environment = os.environ | self._mark | {processes.PROGRAM_MARK: f"{guard.PREFIX}{supervisord}"}
        if not self._guards(supervisord):
            # Not of the caller's process group, which supervisord kills. It forks, and so is nobody's child.
            subprocess.run(words, env=environment, start_new_session=True, check=True)
        return min(self._guards(supervisord))

    def _guards(self, supervisord: int) -> set[int]:
        return self._marked(f"{guard.PREFIX}{supervisord}")

    def _marked(self, name: str) -> set[int]:
        return processes.marked({**self._mark, processes.PROGRAM_MARK: name})

    def kill(self, name: str) -> None:
        """Kill a hung program with its children; supervisord restarts it."""
        process = self.states().get(name)
        if process and process.pid:
            # Each program is a process group; an Envoy of an earlier supervisord is of another one.
            processes.send([-process.pid, *self._marked(name)], signal.SIGKILL)

    def end_of(self, name: str) -> str:
        """Return how a program last ended, in supervisord's words, such as `exit status 65` or `terminated by SIGKILL`; "" if never."""
        # An earlier supervisord has written to the same file.
        log = self.log("supervisord", 1 << 16).rpartition(" supervisord started with pid ")[2]
        ends = re.findall(rf"exited: {re.escape(name)} \((.*?)(?:; (?:not )?expected)?\)\n", log)
        return str(ends[-1]) if ends else ""

    def restarts(self) -> dict[str, int]:
        """Return how often each program ended and was started again since it was added, as far as supervisord's log reaches back."""
        found: dict[str, int] = {}
        for how, name in re.findall(r" (exited|stopped): (\S+) \(", self.log("supervisord", 1 << 20)):
            # Stopped by us, before its program is removed: a later one of that name begins at 0.
            found[name] = found.get(name, 0) + 1 if how == "exited" else 0
        return found

    def add(self, program: Program) -> None:
        """Start a program and keep it alive from now on."""
        self._write(program)
        self._call("reloadConfig")
        self._call("addProcessGroup", program.name)  # reloadConfig only reads the file; this starts the program

    def _write(self, program: Program) -> None:
        program.directory.mkdir(parents=True, exist_ok=True)
        self._log_path(program.name).unlink(missing_ok=True)  # so that `log` holds this program's lines only
        write_privately(self._path(program.name), self._text(program))

    def runs(self, program: Program) -> bool:
        """Tell whether exactly this program runs; its file may be left of an interrupted command."""
        process, path = self.states().get(program.name), self._path(program.name)
        return bool(process and process.pid) and path.is_file() and path.read_bytes() == self._text(program)

    def outlived(self, program: Program) -> bool:
        """Tell whether processes of exactly this program run, of an earlier supervisord too."""
        return bool(processes.marked({**self._mark, **_marks(program)}))

    def ensure(self, program: Program) -> bool:
        """Start a program unless exactly this one runs; return whether it was started."""
        if self.runs(program):
            return False
        self.remove([program.name])
        self.add(program)
        return True

    def remove(self, names: Sequence[str]) -> None:
        """Stop programs, together, and forget them; return when none of their processes is left."""
        for name in names:
            self._stop(name)
        for name in names:
            self._forget(name)
            self._path(name).unlink(missing_ok=True)
            processes.end({**self._mark, processes.PROGRAM_MARK: name}, patience_s=1.0)
        self._call("reloadConfig")

    def shut_down(self) -> None:
        """Stop supervisord and its programs; return when no process of the fleet is left."""
        with suppress(UnavailableError, xmlrpc.client.Fault):
            self._call("shutdown")
        deadline = time.monotonic() + _STOP_LIMIT_S + 5
        while self.answers() and time.monotonic() < deadline:
            time.sleep(0.05)
        processes.end(self._mark, patience_s=5.0)

    def log(self, name: str, last_bytes: int = 3000) -> str:
        """Return the end of a program's log."""
        try:
            return self._log_path(name).read_bytes()[-last_bytes:].decode(errors="replace")
        except FileNotFoundError:
            return ""

    @property
    def _mark(self) -> dict[str, str]:
        return {processes.FLEET_MARK: str(self._root)}

    def _call(self, method: str, *arguments: object) -> Any:
        """Call supervisord's XML-RPC interface.

        Raises:
            UnavailableError: it does not run, or does not answer in time.
            xmlrpc.client.Fault: it refuses.
        """
        try:
            with xmlrpc.client.ServerProxy(
                "http://localhost", transport=_Transport(self._socket, self._limit_s)
            ) as server:
                return getattr(server.supervisor, method)(*arguments)
        except TimeoutError as error:
            text = f"supervisord does not answer within {self._limit_s:g} s; `{self._command}` replaces it"
            raise UnavailableError(text) from error
        except (OSError, HTTPException, xmlrpc.client.ProtocolError) as error:
            raise _NotRunningError(f"supervisord does not run; `{self._command}` starts it") from error

    def _stop(self, name: str) -> None:
        with suppress(xmlrpc.client.Fault):  # not running
            self._call("stopProcessGroup", name, False)  # without waiting, so that several stop at the same time

    def _forget(self, name: str) -> None:
        deadline = time.monotonic() + _STOP_LIMIT_S + 5
        while True:
            try:
                self._call("removeProcessGroup", name)
                return
            except xmlrpc.client.Fault as fault:
                if fault.faultCode == Faults.BAD_NAME:
                    return
                if fault.faultCode != Faults.STILL_RUNNING or time.monotonic() > deadline:
                    raise UnavailableError(f"supervisord cannot remove {name}: {fault.faultString}") from fault
            self._stop(name)  # supervisord restarts a program that had just ended when it was stopped
            time.sleep(0.05)

    def _text(self, program: Program) -> bytes:
        environment = {**_marks(program), **program.environment}
        text = _PROGRAM.format(
            name=program.name,
            command=_escaped(shlex.join(program.command)),
            directory=_escaped(str(program.directory)),
            environment=",".join(f'{name}="{_escaped(value)}"' for name, value in environment.items()),
            stop_limit=program.stop_limit_s,
        )
        return text.encode()

    def _path(self, name: str) -> Path:
        return self._programs / f"{name}.conf"

    def _log_path(self, name: str) -> Path:
        return self._root / "logs" / f"{name}.log"


class _Transport(xmlrpc.client.Transport):
    """Calls through a Unix socket, each with a time limit."""

    def __init__(self, path: Path, limit_s: float) -> None:
        super().__init__()
        self._path, self._limit_s = path, limit_s

    def make_connection(self, host: Any) -> UnixConnection:
        connection = UnixConnection(self._path, self._limit_s)
        self._connection = host, connection  # for xmlrpc.client, which closes it at the end
        return connection


def write_privately(path: Path, content: bytes) -> None:
    """Write a file for this user alone, whatever the umask: settings may hold credentials (`OTEL_EXPORTER_OTLP_HEADERS`)."""
    with atomic_path(path, mode=0o600) as temporary:
        temporary.write_bytes(content)


def _marks(program: Program) -> dict[str, str]:
    """Return the marks of a program's processes: its name, and a digest of what it is."""
    content = repr((program.command, program.directory, sorted(program.environment.items())))
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    return {processes.PROGRAM_MARK: program.name, processes.CONTENT_MARK: digest}


def _escaped(text: str) -> str:
    """Escape `%`, since supervisord expands `%(name)s` in its configuration."""
    return text.replace("%", "%%")
