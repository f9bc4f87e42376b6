"""The fleet's cgroup: a high share of the CPU beside other programs of the machine, under cgroup v1 or v2."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from contract.environment.cgroups import Place, group, places, reason

GROUP = "bulkhead-fleet"  # of all fleets that were started from the same cgroup, or beside it under v2
USUAL = 100
_USUAL_SHARES = 1024  # of v1
_MEMBERS = "members"  # below it, under v2


def within(weight: int) -> tuple[list[str], str]:
    """Return the words before a command that start it in a cgroup of this weight, or none and the reason why none can be made.

    Args:
        weight: beside others, which have `USUAL`.
    """
    place = places().get("cpu")
    if place is None:
        return [], "no cgroup file system with the controller cpu"
    if place.directory.name == GROUP:  # what restarts supervisord is in it already
        return [], ""
    try:
        own = group(place, "cpu", GROUP)
        if place.version == 1:
            (own / "cpu.shares").write_text(str(weight * _USUAL_SHARES // USUAL))
        else:
            (own / "cpu.weight").write_text(str(weight))
        members = members_of(place)
        members.mkdir(exist_ok=True)
    except OSError as error:
        return [], reason(place, error)
    # By the process itself, so that none of its children can be missed.
    return ["sh", "-c", 'echo $$ > "$0"; exec "$@"', str(members / "cgroup.procs")], ""


def members_of(place: Place) -> Path:
    """Return the directory of the cgroup that has the fleet's processes."""
    own = place.directory / GROUP
    return own if place.version == 1 else own / _MEMBERS


def forget() -> None:
    """Remove the cgroup, unless another fleet is in it."""
    if place := places().get("cpu"):
        with suppress(OSError):
            if place.version == 2:
                members_of(place).rmdir()
            (place.directory / GROUP).rmdir()
