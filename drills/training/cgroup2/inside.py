"""`python -m drills.training.cgroup2.inside RESULTS`: run the tests in the virtual machine, once in each surroundings."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import PROJECT, interpreter

_UID = "61000"
_SERVICE = ("systemd-run", "--quiet", "--wait", "--pipe")
_AS_USER = ("setpriv", "--reuid", _UID, "--regid", _UID, "--clear-groups", "env", f"XDG_RUNTIME_DIR=/run/user/{_UID}")
# As in a container: the outermost cgroup that can be seen has the processes.
_CONTAINED = 'umount /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec "$@"'


@dataclass(frozen=True)
class Surroundings:
    """The start of a command.

    Attributes:
        command: that starts it.
        lacking: part of the reason why no cgroup can be made there; "" where one can.
    """

    command: Sequence[str]
    lacking: str = ""


SURROUNDINGS = {
    "a service, as root": Surroundings(_SERVICE),
    "a scope of an ordinary user": Surroundings((*_AS_USER, "systemd-run", "--quiet", "--user", "--scope")),
    "a service, as an ordinary user": Surroundings(
        (*_SERVICE, f"--property=User={_UID}"), "Permission denied; start it by `systemd-run --user --scope`"
    ),
    "a container, as root": Surroundings(
        (*_SERVICE, "unshare", "--cgroup", "--mount", "sh", "-c", _CONTAINED, "sh"),
        "it has processes of its own, as a container's has",
    ),
}
# Envoy does not run there (its allocator wants 48 bits of addresses, the kernel has 39), and the root is read-only.
_LEFT_OUT = "not new_fleet and not isolation_is_required and not declared_otherwise and not all_of_a_fleet and not succeeds_without"
SUITES = {
    "training's cgroup": ("pipeline", ("tests/pipelines/runs/test_cgroups.py",)),
    "the fleet's cgroup and the wall": ("fleet", ("tests/fleet/supervisor/isolation", "-k", _LEFT_OUT)),
}


def report(surroundings: str, suite: str) -> str:
    """Return the name of the file of a suite's results, in JUnit's XML."""
    return f"{list(SURROUNDINGS).index(surroundings)}-{list(SUITES).index(suite)}.xml"


def main(results: Path) -> None:
    """Run each suite in each of the surroundings."""
    subprocess.run(["systemctl", "start", f"user@{_UID}.service"], check=True)
    for where, surroundings in SURROUNDINGS.items():
        for suite, (environment, tests) in SUITES.items():
            print(f"── {suite}, in {where}", flush=True)
            with tempfile.TemporaryDirectory() as scratch:
                Path(scratch).chmod(0o1777)
                found = Path(scratch, "found.xml")
                variables = [
                    f"PYTHONPATH={PROJECT}/.venv/test:{PROJECT}",
                    "PYTHONDONTWRITEBYTECODE=1",
                    "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                ]
                variables += [f"HOME={scratch}", "BULKHEAD_TRAINING_WEIGHT=none"]
                pytest = [
                    str(interpreter(environment)),
                    "-m",
                    "pytest",
                    "--quiet",
                    "--color=no",
                    "-p",
                    "no:cacheprovider",
                ]
                pytest += [f"--basetemp={scratch}/tests", f"--junitxml={found}", *tests]
                subprocess.run([*surroundings.command, "env", "-C", str(PROJECT), *variables, *pytest], check=False)
                if found.exists():
                    shutil.copyfile(found, results / report(where, suite))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
