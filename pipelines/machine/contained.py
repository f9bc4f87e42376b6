"""Training beside a fleet: a stage works in the cgroup of training, or says in one line that it cannot.

`BULKHEAD_TRAINING_WEIGHT` and `BULKHEAD_TRAINING_MEMORY_MB` have its limits.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from contract import command_line
from contract.errors import EXIT_CONFIGURATION, ConfigurationError
from pipelines.machine import cgroups
from pipelines.machine.cgroups import IDLE, Limits, Membership

WEIGHT, MEMORY = "BULKHEAD_TRAINING_WEIGHT", "BULKHEAD_TRAINING_MEMORY_MB"
GUARD = "stage-guard"  # the name of the process that waits for a stage
_DEFAULT_SHARE = 0.8  # of this machine's memory
_MOST_WEIGHT, _MOST_MB = 10_000, 1_000_000_000
LOOK_S = 60.0  # between two looks at whether a stage gets the CPU
_STARVED = 0.8  # of that time
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


def limits_of(environment: Mapping[str, str]) -> Limits:
    """Return the limits that the environment sets.

    Raises:
        ConfigurationError: a value is not allowed.
    """
    weight = _number(environment.get(WEIGHT, "idle"), WEIGHT, {"idle": IDLE}, _MOST_WEIGHT)
    default = int(_DEFAULT_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6)
    memory_mb = _number(environment.get(MEMORY, str(default)), MEMORY, {}, _MOST_MB)
    return Limits(weight, None if memory_mb is None else memory_mb * 1_000_000)


def enter(stage: str) -> None:
    """Go on in a child process, in the cgroup of training. This process waits for the child, and ends as it ends.

    It is the one that is left to say so when the kernel kills the stage for its memory.

    Raises:
        ConfigurationError: a setting is not allowed.
    """
    limits = limits_of(os.environ)
    if cgroups.is_inside() or limits == Limits(None, None):
        return
    own = cgroups.make(limits, str(os.getpid()))
    if own.missing and stage == "train":  # once in a run
        reasons = "; ".join(dict.fromkeys(own.missing.values()))  # under v2 both controllers have one
        command_line.tell(f"{stage}: {_lacks(own.missing)} beside a fleet on this machine ({reasons})")
    if not own.leaves:
        return
    guard = os.getpid()
    child = os.fork()
    if child:
        _end_like(child, stage, own, limits)
    _die_with(guard)
    own.join(os.getpid())


def _lacks(missing: Mapping[str, str]) -> str:
    words = {"cpu": "an equal share of the CPU", "memory": "no memory limit"}
    return "training has " + " and ".join(words[controller] for controller in missing)


def _end_like(child: int, stage: str, own: Membership, limits: Limits) -> NoReturn:
    """Wait for the child, and end with its exit code or by its signal; after a kill at the memory limit, say so."""
    _call_kernel(_PR_SET_NAME, GUARD.encode())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the child too
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: os.kill(child, number))
    _tell_when_starved(child, stage, limits)
    _, status = os.waitpid(child, 0)
    at_limit = own.killed_for_memory()
    own.remove()
    if at_limit and status:
        command_line.tell(f"{stage} stopped: {_at_limit(limits)}")
        os._exit(EXIT_CONFIGURATION)
    if os.WIFSIGNALED(status):
        ended_by = os.WTERMSIG(status)
        if ended_by != signal.SIGKILL:  # whose action cannot be changed
            signal.signal(ended_by, signal.SIG_DFL)
        os.kill(os.getpid(), ended_by)
    os._exit(os.waitstatus_to_exitcode(status))


def _tell_when_starved(child: int, stage: str, limits: Limits) -> None:
    """Say once, while the child works, that it waits for the CPU: at the weight `idle` a busy machine stops it without a sign."""
    before = 0
    advice = "" if limits.weight is None else f"; {WEIGHT}=none gives stages an equal share"

    def look(*_: object) -> None:
        nonlocal before
        # Of the main thread, in ns: on a core, and ready for one. A thread that waits for others or for a disk is in neither.
        # Of a child that has ended, or of a kernel without the counters, the file is gone, empty or other.
        with suppress(OSError, LookupError, ValueError):
            waited = int(Path(f"/proc/{child}/schedstat").read_text().split()[1])
            if waited - before > _STARVED * LOOK_S * 1e9:
                signal.setitimer(signal.ITIMER_REAL, 0)
                command_line.tell(f"{stage} waits for the CPU, which other programs use{advice}")
            before = waited

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, LOOK_S, LOOK_S)


def _at_limit(limits: Limits) -> str:
    limit = f"{limits.memory_bytes / 1e6:,.0f} MB" if limits.memory_bytes else "an outer limit"
    return (
        f"out of memory: all training on this machine may have {limit}; raise {MEMORY}, let fewer stages run at once, or train on fewer "
        "months, and run it again"
    )


def _die_with(guard: int) -> None:
    """End this process when its guard is killed: nobody would wait for it."""
    _call_kernel(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard:  # killed before the kernel was asked
        os._exit(1)


def _call_kernel(option: int, value: bytes | int) -> None:
    """Call prctl(2), which Python does not offer."""
    ctypes.CDLL(None).prctl(option, value)


def _number(text: str, variable: str, words: Mapping[str, int], most: int) -> int | None:
    if text == "none":
        return None
    if text in words:
        return words[text]
    if text.isascii() and text.isdigit() and 1 <= int(text) <= most:
        return int(text)
    named = ", ".join(["none", *words])
    raise ConfigurationError(f"{variable} is {text!r}; allowed are {named} and whole numbers from 1 to {most}")
