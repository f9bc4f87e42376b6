"""The drill of cgroup v2 and of ordinary users: the tests of cgroups and of the wall, in a virtual machine of User-mode Linux.

Its kernel is of Debian's package user-mode-linux; everything else is this machine's, read-only.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from drills.results import Result
from drills.training.cgroup2.inside import SUITES, SURROUNDINGS, report
from harness import PROJECT

_NEEDED = {
    "linux.uml": "user-mode-linux",
    "systemd-run": "systemd",
    "dbus-daemon": "dbus-user-session",
    "bwrap": "bubblewrap",
}
_INIT = Path(__file__).with_name("init.sh")
_MEMORY, _LIMIT_S = "3G", 1800


def cgroup2() -> list[Result]:
    """Boot the machine, run the tests, and count them; none where it cannot be booted, and a line that says why."""
    if missing := [package for program, package in _NEEDED.items() if not shutil.which(program)]:
        print(f"  left out: needs Debian's {', '.join(missing)}")
        return []
    with tempfile.TemporaryDirectory() as scratch:
        _boot(Path(scratch))
        return [_counted(Path(scratch), where, suite) for where in SURROUNDINGS for suite in SUITES]


def _boot(results: Path) -> None:
    given = [f"project={PROJECT}", f"python={sys.base_prefix}", f"results={results}"]
    machine = ["linux.uml", "rootfstype=hostfs", "rootflags=/", "ro", f"mem={_MEMORY}", f"init={_INIT}", *given]
    console = ["con=null", "con0=fd:0,fd:1", "quiet"]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(results)}  # where it has its sockets
    try:
        subprocess.run([*machine, *console], stdin=subprocess.DEVNULL, env=environment, timeout=_LIMIT_S, check=True)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"the virtual machine has not ended after {_LIMIT_S} s") from error


def _counted(results: Path, where: str, suite: str) -> Result:
    """Count a suite's tests: those fail, too, that are skipped for want of a cgroup where there should be one, or for another reason."""
    path, lacking = results / report(where, suite), SURROUNDINGS[where].lacking
    cases = list(ElementTree.parse(path).iter("testcase")) if path.exists() else []
    failed = sum(any(child.tag in ("failure", "error") for child in case) for case in cases)
    reasons = [skipped.get("message", "") for case in cases for skipped in case.iter("skipped")]
    without = [reason for reason in reasons if "/sys/fs/cgroup" in reason]
    wrong = [reason for reason in without if not lacking or lacking not in reason]
    invariant = (
        f"{len(without)} skipped because no cgroup can be made, for the reason expected"
        if lacking
        else "cgroups are made"
    )
    holds = not failed and not wrong and len(cases) > len(reasons) and bool(without) == bool(lacking)
    return Result(
        33, f"{suite}, {where}", "cgroup v2 in a virtual machine", len(cases), failed + len(wrong), invariant, holds
    )
