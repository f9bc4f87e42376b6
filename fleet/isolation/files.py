"""The files that a replica reads and writes, made accessible to its user."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from contract import api_keys
from contract.errors import ConfigurationError
from contract.files import atomic_path
from contract.prediction_log import settings as log_settings
from fleet.configuration.settings import OTEL_PATHS, Settings

_FOLDER = "given"  # below the fleet's root
_OTHERS_READ, _OTHERS_ENTER = stat.S_IROTH, stat.S_IROTH | stat.S_IXOTH


def make_readable(tree: Path) -> None:
    """Let every user read a tree; its parent stays closed to them, and only the sandbox leads to it past that."""
    for path in (tree, *tree.rglob("*")):
        mode = path.lstat().st_mode
        wanted = mode | (_OTHERS_ENTER if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else _OTHERS_READ)
        if mode != wanted and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(wanted))


def hand_over(given: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Copy the files that replicas' variables name to where replicas read them; return the variables with the copies' paths.

    Copies, since a mounted file would stay the old one when it is replaced. The directories of logs are given to the replicas' user.

    Raises:
        ConfigurationError: a file or the directory is unusable.
    """
    changed = dict(given)
    if path := api_keys.file_named(changed):
        api_keys.read(path)
    for name in _named(given):
        changed[name] = str(_copied(Path(changed[name]), settings.root / _FOLDER / name, name, settings))
    for log in filter(None, (log_settings.read(changed), log_settings.read_shadow(changed))):
        _give(log.directory, settings, group_only=False)
    return changed


def renew(settings: Settings) -> None:
    """Copy again what has changed since `hand_over`; do nothing where no replica reads copies."""
    if (settings.root / _FOLDER).is_dir():
        hand_over(settings.passed_on, settings)


def _copied(source: Path, copy: Path, name: str, settings: Settings) -> Path:
    try:
        content = source.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{name} names {source}, which cannot be read ({error.strerror})") from error
    copy.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    _give(copy.parent, settings)
    if not copy.is_file() or copy.read_bytes() != content:
        with atomic_path(copy, mode=0o640) as temporary:
            temporary.write_bytes(content)
            _give(temporary, settings)
    return copy


def handed_over(settings: Mapping[str, str]) -> set[Path]:
    """Return the directories of the files that `hand_over` has copied, for settings that it returned."""
    return {Path(settings[name]).parent for name in _named(settings)}


def _named(settings: Mapping[str, str]) -> Iterator[str]:
    return (name for name in settings if name == api_keys.VARIABLE or name.endswith(OTEL_PATHS))


def _give(path: Path, settings: Settings, *, group_only: bool = True) -> None:
    """Let the replicas' user read a path, as the group, or own it; where the fleet does not run as root, it is the fleet's own."""
    if os.geteuid() == 0:
        os.chown(path, -1 if group_only else settings.replica_uid, settings.replica_uid if group_only else -1)
