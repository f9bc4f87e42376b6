"""The ledger of batches: one small file, changed under a lock and by one rename, which DVC neither restores nor discards.

<var>/quarantine/ledger.json                the state, history and problems of every batch
<var>/quarantine/batches/<batch>.parquet    the whole batch, while it is quarantined or released

A batch is one collection of a month: the same month with other bytes is another batch.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from contract.errors import ConfigurationError, DataRejectedError
from contract.files import atomic_path, canonical_json, write_atomically
from pipelines.params.params import Data, TargetParams, Validate
from pipelines.paths import var_directory

State = Literal["pending", "accepted", "quarantined", "released", "dropped"]


@dataclass(frozen=True)
class Batch:
    """One collection of a month.

    Attributes:
        split: number of rows split off, by reason.
        problems: reasons for which the whole batch was refused.
        inputs: digest of the verdict's inputs (`inputs_digest`).
    """

    id: str
    month: str
    sha256: str
    state: State
    rows: int = 0
    split: dict[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    inputs: str = ""
    history: tuple[State, ...] = ()

    def moved(self, state: State) -> Batch:
        """Return the batch in a new state, the present one in its history."""
        return replace(self, state=state, history=(*self.history, self.state))


def batch_id(month: str, sha256: str) -> str:
    """Return the id of a batch: its month and the first 12 digits of the partition's SHA-256."""
    return f"{month}-{sha256[:12]}"


def inputs_digest(data: Data, target: TargetParams, declared: Validate, partitions: Mapping[str, str]) -> str:
    """Return the SHA-256 of the inputs of `validate`'s verdict: declarations, and the SHA-256 of every month's partition."""
    sections = {"data": data, "target": target, "validate": declared}
    params = {name: section.model_dump(mode="json", by_alias=True) for name, section in sections.items()}
    return hashlib.sha256(canonical_json({"params": params, "partitions": dict(partitions)})).hexdigest()


class Ledger:
    """The ledger under a directory such as `var/quarantine`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / "ledger.json"

    def read(self) -> dict[str, Batch]:
        """Return every batch that ever got a verdict, by id."""
        try:
            raw = json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise DataRejectedError(
                f"{self._file} is not JSON ({error}); move it away: `dvc repro --force validate` writes it again, "
                "and dropped batches have to be dropped again"
            ) from error
        return {
            name: Batch(name, **{**entry, "problems": tuple(entry["problems"]), "history": tuple(entry["history"])})
            for name, entry in raw.items()
        }

    def copy_of(self, batch: Batch) -> Path:
        """Return the path of the whole batch, kept while it is quarantined or released."""
        return self._directory / "batches" / f"{batch.id}.parquet"

    def settle(self, verdicts: Sequence[tuple[Batch, Path]]) -> list[Batch]:
        """Record accepted and quarantined batches, all at once, and return them; the files of quarantined ones are copied first.

        Raises:
            DataRejectedError: one of them was dropped.
        """
        with self._changing() as batches:
            refuse_dropped(batches, [batch.id for batch, _ in verdicts])
            for batch, source in verdicts:
                before = batches.get(batch.id)
                if batch.state == "quarantined":
                    self._keep(batch, source)
                batches[batch.id] = replace(batch, history=_history(before, batch.state))
        for batch, _ in verdicts:  # after the ledger is written: a crash leaves a copy too many, never one too few
            if batch.state == "accepted":
                self.copy_of(batch).unlink(missing_ok=True)
        return [batches[batch.id] for batch, _ in verdicts]

    def move(self, name: str, state: State, *, allowed: tuple[State, ...]) -> Batch:
        """Move one batch, named by its id or by a month with only one such batch.

        Raises:
            ConfigurationError: there is no such batch, or its state does not allow the move.
        """
        with self._changing() as batches:
            batch = find(batches, name, allowed)
            if batch.state not in allowed:
                raise ConfigurationError(
                    f"batch {batch.id} is {batch.state}; only one that is {' or '.join(allowed)} can become {state}"
                )
            batches[batch.id] = batch.moved(state)
        if state == "dropped":
            self.copy_of(batch).unlink(missing_ok=True)
        return batch.moved(state)

    def _keep(self, batch: Batch, source: Path) -> None:
        if not self.copy_of(batch).exists():
            with atomic_path(self.copy_of(batch)) as temporary:
                shutil.copyfile(source, temporary)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Batch]]:
        """Yield all batches under a lock, to be changed in place; written on success, by one rename."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / ".lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            batches = self.read()
            before = dict(batches)
            yield batches
            if batches != before:
                write_atomically(self._file, canonical_json({name: _entry(batch) for name, batch in batches.items()}))


def project_ledger() -> Ledger:
    """Return the ledger in the project's `var`."""
    return Ledger(var_directory() / "quarantine")


def refuse_dropped(batches: dict[str, Batch], ids: Sequence[str]) -> None:
    """Raise DataRejectedError if one of these batches was dropped."""
    if dropped := [batches[name] for name in ids if name in batches and batches[name].state == "dropped"]:
        batch = dropped[0]
        raise DataRejectedError(
            f"batch {batch.id} was dropped. Deliver {batch.month} again and rerun, or remove {batch.month} from data.months"
        )


def find(batches: dict[str, Batch], name: str, wanted: tuple[State, ...] = ()) -> Batch:
    """Return the batch of this id, or the only one of this month, or its only one in a wanted state."""
    if name in batches:
        return batches[name]
    of_month = [batch for batch in batches.values() if batch.month == name]
    fitting = [batch for batch in of_month if batch.state in wanted] or of_month
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ConfigurationError(f"{name} has several batches: {', '.join(batch.id for batch in fitting)}; name one")
    raise ConfigurationError(f"there is no batch {name!r}; `python -m pipelines quarantine list` shows them all")


def _history(before: Batch | None, state: State) -> tuple[State, ...]:
    if before is None:
        return ()
    return before.history if before.state == state else (*before.history, before.state)


def _entry(batch: Batch) -> dict[str, object]:
    entry = asdict(batch)
    del entry["id"]
    return entry
