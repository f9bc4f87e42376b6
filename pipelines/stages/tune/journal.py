"""The journal of all searches on this machine: one file, to which each finished trial is appended as one record.

There are no running trials in it, so a killed search leaves none behind: what it has asked for and not finished is asked for again.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from contract import command_line
from contract.errors import DataRejectedError
from contract.files import canonical_json, private_directory
from pipelines.params.tune import Range
from pipelines.stages.tune.space import Parameters


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Give the storage of Optuna over this file, to one process at a time.

    Raises:
        DataRejectedError: the file is corrupt.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    private_directory(path.parent)
    with path.open("ab+") as file:
        _lock(file)
        _drop_torn_record(file)
        try:
            storage = optuna.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=_Held()))
        except (ValueError, KeyError) as error:
            raise DataRejectedError(f"{path} is corrupt ({error}); delete it, and searches begin anew") from error
        yield storage


def study(storage: Any, base: Any, family: str, start: Parameters) -> Any:
    """Return the study with this identity, new or as far as it came."""
    import optuna

    digest = _digest(base)
    found = optuna.create_study(study_name=_digest([digest, start]), storage=storage, load_if_exists=True)
    for name, value in {"base": digest, "family": family, "start": start}.items():
        if name not in found.user_attrs:
            found.set_user_attr(name, value)
    return found


def start_of(storage: Any, base: Any, family: str, space: Mapping[str, Range]) -> Parameters:
    """Return the best parameters of the last search with this family, as far as they are in the space; empty if there are none.

    A search that is repeated starts as it did the first time, so that it is the same search.
    """
    import optuna

    known = optuna.get_all_study_summaries(storage)
    for summary in known:
        if summary.user_attrs.get("base") == _digest(base):
            return dict(summary.user_attrs["start"])
    for summary in reversed(known):
        if summary.user_attrs.get("family") == family and (best := summary.user_attrs.get("best")):
            return {name: value for name, value in best.items() if name in space and space[name].holds(value)}
    return {}


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical_json(value)).hexdigest()[:16]


def _lock(file: IO[bytes]) -> None:
    """Lock the file; unlike the link that Optuna makes beside it, this lock ends with its process."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        command_line.tell("tune: another search is running on this machine; waiting for its end")
        fcntl.flock(file, fcntl.LOCK_EX)


class _Held:
    """A lock for Optuna, whose file is locked already."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _drop_torn_record(file: IO[bytes]) -> None:
    """Cut off a last line without an end: Optuna would append the next record to it, and then read neither."""
    file.seek(0)
    content = file.read()
    file.truncate(content.rfind(b"\n") + 1)
