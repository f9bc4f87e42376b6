"""One store directory, two users: training puts bundles and moves `candidate`, the fleet moves `live`.

`bundles/` and `channels/` are sticky, so in them a user cannot replace another's files; each channel exists from the beginning, owned by
its user. The owner of `channels/` is exempt from the sticky bit, so it is the fleet.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from contract.errors import ConfigurationError
from contract.store.channel import RESERVED
from contract.store.directory import Directory
from contract.store.store import Store

_STICKY = 0o1775  # training's group may write; only owners may replace


@dataclass(frozen=True)
class User:
    """A user of this machine; `group` is the primary one."""

    name: str
    uid: int
    gid: int

    def __str__(self) -> str:
        return f"{self.name} ({self.uid})"


def user(name: str) -> User:
    """Return a user by name or number; the group of a number without an entry is the same number."""
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        if not name.isdecimal():
            raise ConfigurationError(f"there is no user {name!r} on this machine") from None
        return User(name, int(name), int(name))
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid)


def share(store: Store, training: User, fleet: User) -> None:
    """Give the store's directories to two users.

    Raises:
        ConfigurationError: the store is a bucket, the users are one, or this process is not root's.
    """
    place = store.place
    if not isinstance(place, Directory):
        raise ConfigurationError(f"{store.location} is no directory: set permissions in the bucket's policies")
    if training.uid == fleet.uid:
        raise ConfigurationError(
            f"{training} cannot be both --training and --fleet: name two users, to keep training and serving apart"
        )
    if os.geteuid() != 0:
        raise ConfigurationError("only root can give files to other users: run `store init` as root")
    root = Path(store.location)
    with place.explained("share the store"):
        for path, owner, mode in (
            (root, 0, 0o755),
            (root / "bundles", 0, _STICKY),
            (root / "channels", fleet.uid, _STICKY),
        ):
            path.mkdir(parents=True, exist_ok=True)
            os.chown(path, owner, training.gid)
            path.chmod(mode)
        place.reserve("candidate", RESERVED, training.uid, training.gid)
        place.reserve("live", RESERVED, fleet.uid, fleet.gid)
