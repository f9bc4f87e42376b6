"""The fleet's cgroup: a high share of the CPU beside other programs of the machine.

Under cgroup v1 only, as root. Under v2 systemd owns the tree, and gives a service the same by `CPUWeight`.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from contract.environment.cgroups import places

GROUP = "bulkhead-fleet"  # of all fleets that were started from the same cgroup
USUAL = 100
_USUAL_SHARES = 1024


def within(weight: int) -> list[str]:
    """Return the words before a command that start it in a cgroup of this weight; none where this user cannot make one.

    Args:
        weight: beside others, which have `USUAL`.
    """
    place = _place()
    if place is None or place.name == GROUP:  # what restarts supervisord is in it already
        return []
    group = place / GROUP
    try:
        group.mkdir(exist_ok=True)
        (group / "cpu.shares").write_text(str(weight * _USUAL_SHARES // USUAL))
    except OSError:  # an ordinary user may not
        return []
    # By the process itself, so that none of its children can be missed.
    return ["sh", "-c", 'echo $$ > "$0"; exec "$@"', str(group / "cgroup.procs")]


def forget() -> None:
    """Remove the cgroup, unless another fleet is in it."""
    if place := _place():
        with suppress(OSError):
            (place / GROUP).rmdir()


def _place() -> Path | None:
    found = places().get("cpu")
    return found.directory if found and found.version == 1 else None
