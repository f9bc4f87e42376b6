"""The ledger of costs: the resources that each stage's process has used, in `var/costs/ledger.jsonl`.

A process appends a line when it starts, every ten seconds, and when it ends, so that a killed one leaves what was known. A line is one
write, and many processes append at once. The ledger lies outside of what DVC and the bundle know: seconds differ from run to run, and
equal inputs give equal digests.
"""

from __future__ import annotations

import json
import os
import resource
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from contract import command_line
from contract.files import private_directory
from pipelines.machine import contained
from pipelines.paths import var_directory

_BEAT_S = 10
_SHELLS = {"sh", "bash", "dash", "zsh", "ksh", "fish", "stage-shell", contained.GUARD}
RUN = "BULKHEAD_RUN"


def ledger() -> Path:
    """Return the path of the ledger."""
    return var_directory() / "costs/ledger.jsonl"


def recorded(command: str, run: Callable[[], int]) -> int:
    """Run a command to its end, record its resources, and return its exit code."""
    identity = _identity(command)
    stop = threading.Event()
    _append(identity | {"state": "started"})

    def beat() -> None:
        while not stop.wait(_BEAT_S):
            _append(identity | {"state": "running"})

    threading.Thread(target=beat, daemon=True).start()
    code = 1
    try:
        code = run()
    finally:
        stop.set()
        problem = _append(identity | {"state": "ended", "exit": code})
    if problem and code == 0:  # a stage that fails names its own reason, in one line
        command_line.tell(f"costs: {ledger()} cannot be written ({problem}); the cost of {command} is unknown")
    return code


def dvc_process() -> int | None:
    """Return the process id of the DVC that runs this stage, the nearest ancestor that is neither a shell nor a guard; None without DVC."""
    if "DVC_STAGE" not in os.environ:
        return None
    process = os.getppid()
    while process > 1 and _stat(process)[0] in _SHELLS:
        process = int(_stat(process)[1][1])
    return process


def process_name(process: int) -> str:
    """Return a name of a process that no later one gets: its boot, its start within it, and its id."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    return f"{boot}-{started_ticks(process)}-{process}"


def _identity(command: str) -> dict[str, object]:
    own, dvc = process_name(os.getpid()), dvc_process()
    arguments = Path(f"/proc/{dvc}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1] if dvc else []
    return {
        "run": os.environ.get(RUN) or process_name(dvc or os.getpid()),
        "stage": os.environ.get("DVC_STAGE", command),
        "process": own,
        "targets": _targets(arguments),
    }


def _targets(arguments: list[str]) -> list[str] | None:
    """Return the stages that `dvc repro` was asked for, none for all of them; None for another command."""
    if "repro" not in arguments:
        return None
    return [argument for argument in arguments[arguments.index("repro") + 1 :] if not argument.startswith("-")]


def _append(entry: dict[str, object]) -> str | None:
    """Append a line; return the reason why it cannot be written, for which no stage fails."""
    line = json.dumps(entry | {"at": datetime.now(UTC).isoformat(timespec="seconds")} | _used()) + "\n"
    path = ledger()
    try:
        private_directory(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _used() -> dict[str, float]:
    """Return wall and CPU seconds since the process started, its children's with it, and the largest resident memory of one process."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    started = started_ticks(os.getpid()) / os.sysconf("SC_CLK_TCK")
    return {
        "wall_s": round(time.clock_gettime(time.CLOCK_BOOTTIME) - started, 2),
        "cpu_s": round(sum(used.ru_utime + used.ru_stime for used in both), 3),
        "peak_mb": round(max(_own_peak_mb(), both[1].ru_maxrss / 1024), 1),
    }


def _own_peak_mb() -> float:
    # Not from getrusage: until a process is replaced by another program, its peak is that of the DVC that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def started_ticks(process: int) -> int:
    """Return when a process was started, in ticks since the boot, which stay when the clock is set. Source: proc(5), field 22.

    Raises:
        OSError: there is no such process, or no `/proc`.
    """
    return int(_stat(process)[1][19])


def _stat(process: int) -> tuple[str, list[str]]:
    """Return the program's name of a process, and the fields after it."""
    name, _, rest = Path(f"/proc/{process}/stat").read_text().partition("(")[2].rpartition(")")
    return name, rest.split()
