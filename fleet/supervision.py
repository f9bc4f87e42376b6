"""The fleet's processes under supervisord: one program for Envoy and one for each replica, controlled through a Unix socket."""

from __future__ import annotations

import shlex
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

from supervisor.xmlrpc import Faults, SupervisorTransport

from contract.errors import UnavailableError
from contract.files import write_atomically
from fleet import processes

_UNREACHABLE = (OSError, HTTPException, xmlrpc.client.Error)
_START_LIMIT_S = 10.0
_STOP_LIMIT_S = 20  # a replica answers what it has taken within the route's 10 s
_MAIN = """[supervisord]
logfile = {root}/logs/supervisord.log
logfile_maxbytes = 5MB
logfile_backups = 2
pidfile = {root}/supervisord.pid
childlogdir = {root}/logs
directory = {root}
umask = 077

[unix_http_server]
file = {root}/supervisor.sock
chmod = 0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[include]
files = {root}/programs/*.conf
"""
_PROGRAM = """[program:{name}]
command = {command}
directory = {directory}
environment = {environment}
autorestart = true
startsecs = 1
startretries = 1000000
stopwaitsecs = {stop_limit}
killasgroup = true
redirect_stderr = true
stdout_logfile = {log}
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


@dataclass(frozen=True)
class ProcessState:
    """What supervisord says of a program: `state` as in its manual (RUNNING, BACKOFF …), `pid` 0 while it does not run."""

    state: str
    pid: int
    started_at: int


class Supervisor:
    """The supervisord of one fleet, whose files lie in `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._programs = root / "programs"

    def is_running(self) -> bool:
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except _UNREACHABLE:
            return False

    def start(self, environment: Mapping[str, str]) -> None:
        """Start supervisord in the background, without a program; what an earlier one left behind is ended first.

        Raises:
            UnavailableError: it does not start; with its output.
        """
        processes.end(self._mark, _STOP_LIMIT_S)
        for directory in (self._root / "logs", self._programs):
            directory.mkdir(parents=True, exist_ok=True)
        for left in self._programs.glob("*.conf"):
            left.unlink()
        configuration = self._root / "supervisord.conf"
        write_atomically(configuration, _MAIN.format(root=_escaped(str(self._root))).encode())
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)],
            env={**environment, **self._mark},
            cwd=self._root,
            capture_output=True,
            text=True,
            check=False,
        )
        deadline = time.monotonic() + _START_LIMIT_S
        while not self.is_running():
            if done.returncode or time.monotonic() > deadline:
                raise UnavailableError(
                    f"supervisord did not start:\n{done.stdout}{done.stderr}{self.log('supervisord')}"
                )
            time.sleep(0.05)

    def states(self) -> dict[str, ProcessState]:
        """Every program, by name."""
        return {
            info["name"]: ProcessState(info["statename"], info["pid"], info["start"])
            for info in self._call("getAllProcessInfo")
        }

    def add(self, program: Program) -> None:
        """Start a program and keep it alive from now on."""
        program.directory.mkdir(parents=True, exist_ok=True)
        text = _PROGRAM.format(
            name=program.name,
            command=_escaped(shlex.join(program.command)),
            directory=_escaped(str(program.directory)),
            environment=",".join(f'{name}="{_escaped(value)}"' for name, value in program.environment.items()),
            stop_limit=_STOP_LIMIT_S,
            log=_escaped(str(self._log_path(program.name))),
        )
        self._log_path(program.name).unlink(missing_ok=True)
        write_atomically(self._programs / f"{program.name}.conf", text.encode())
        self._call("reloadConfig")
        self._call("addProcessGroup", program.name)

    def remove(self, names: Sequence[str]) -> None:
        """Stop programs, together, and forget them; returns when none of their processes is left."""
        for name in names:
            with suppress(xmlrpc.client.Fault):  # not running
                self._call("stopProcessGroup", name, False)
        for name in names:
            self._forget(name)
            (self._programs / f"{name}.conf").unlink(missing_ok=True)
            processes.end({**self._mark, processes.REPLICA_MARK: name}, patience_s=1.0)
        self._call("reloadConfig")

    def shut_down(self) -> None:
        """End supervisord with all that it runs; returns when no process of the fleet is left."""
        with suppress(*_UNREACHABLE):
            self._call("shutdown")
        deadline = time.monotonic() + _STOP_LIMIT_S + 5
        while self.is_running() and time.monotonic() < deadline:
            time.sleep(0.05)
        processes.end(self._mark, patience_s=5.0)

    def log(self, name: str, last_bytes: int = 3000) -> str:
        """The end of a program's log."""
        try:
            return self._log_path(name).read_bytes()[-last_bytes:].decode(errors="replace")
        except FileNotFoundError:
            return ""

    @property
    def _mark(self) -> dict[str, str]:
        return {processes.FLEET_MARK: str(self._root)}

    def _call(self, method: str, *arguments: object) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._root}/supervisor.sock")
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as server:
            return getattr(server.supervisor, method)(*arguments)

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
            time.sleep(0.05)

    def _log_path(self, name: str) -> Path:
        return self._root / "logs" / f"{name}.log"


def _escaped(text: str) -> str:
    """supervisord expands `%(name)s` in its configuration."""
    return text.replace("%", "%%")
