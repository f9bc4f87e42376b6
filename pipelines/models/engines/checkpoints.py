"""Checkpoints of a training: what an interrupted one has reached, so that the next one goes on from there.

A checkpoint is one blob `<identity>/<rounds>`: a line with the format, one with the SHA-256 of the rest, one of JSON with the identity and
the losses, and the model as the library wrote it. The model is parsed only after digest and identity were verified, since a corrupt one
can crash XGBoost's parser.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from contract.errors import BulkheadError

_FORMAT = b"bulkhead checkpoint 1"
_KEPT = 2  # the one before is used if the newest is corrupt
_ABANDONED = timedelta(days=7)
_LOG = logging.getLogger(__name__)


class Place(Protocol):
    """Storage of blobs by key, such as `folder/name`.

    Every method raises ConfigurationError or UnavailableError if the disk or the network fails.
    """

    location: str

    def list(self) -> dict[str, datetime]:
        """Return the time of the last write by key."""

    def read(self, key: str) -> bytes | None:
        """Return the content, or None if there is no such blob."""

    def write(self, key: str, content: bytes) -> None:
        """Write or replace a blob; after a crash or a power cut it is the old one or the new one."""

    def delete(self, key: str) -> None:
        """Delete a blob, if it still exists."""


@dataclass(frozen=True)
class Checkpoint:
    """A training after some rounds.

    Attributes:
        losses: of each round on the validation rows, or None where a pass has none.
        model: the bytes of the library's model; empty before the first round.
    """

    losses: tuple[float | None, ...] = ()
    model: bytes = b""

    @property
    def rounds(self) -> int:
        """The number of rounds."""
        return len(self.losses)


@dataclass(frozen=True)
class Series:
    """The checkpoints of one pass of a training.

    Attributes:
        identity: all that the bytes of the model depend on, in JSON: another identity has other checkpoints.
        place: None keeps nothing.
    """

    identity: Mapping[str, Any]
    place: Place | None = None

    @property
    def folder(self) -> str:
        """The digest of the identity."""
        text = json.dumps(self.identity, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def newest(self) -> Checkpoint:
        """Return the newest sound checkpoint; without one, that before the first round.

        Raises:
            ConfigurationError, UnavailableError: as the place does.
        """
        for key in reversed(self._keys()):
            content = self.place.read(key) if self.place else None
            try:
                if content is not None:
                    return self._parsed(content)
            except ValueError as error:
                _LOG.warning("the checkpoint %s is not used: %s", key, error)
        return Checkpoint()

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and delete all but the newest; a failure is logged, for training can go on without."""
        if self.place is None:
            return
        try:
            self.place.write(f"{self.folder}/{checkpoint.rounds:06d}", self._content(checkpoint))
            for key in self._keys()[:-_KEPT]:
                self.place.delete(key)
        except BulkheadError as error:
            _LOG.warning("round %d has no checkpoint: %s", checkpoint.rounds, error)

    def _keys(self) -> list[str]:
        """Return the keys, those with the most rounds last."""
        names = self.place.list() if self.place else {}
        return sorted(name for name in names if name.startswith(f"{self.folder}/") and name[-6:].isdigit())

    def _content(self, checkpoint: Checkpoint) -> bytes:
        header = json.dumps({"identity": self.identity, "losses": checkpoint.losses}, sort_keys=True).encode()
        body = header + b"\n" + checkpoint.model
        return b"\n".join([_FORMAT, hashlib.sha256(body).hexdigest().encode(), body])

    def _parsed(self, content: bytes) -> Checkpoint:
        """Return the checkpoint. Raises ValueError if it is torn, of another version, or foreign."""
        version, _, rest = content.partition(b"\n")
        if version != _FORMAT:
            raise ValueError("it has another format")
        digest, _, body = rest.partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != digest:
            raise ValueError("its bytes do not have its digest")
        line, _, model = body.partition(b"\n")
        header = json.loads(line)
        if header["identity"] != json.loads(json.dumps(self.identity)):
            raise ValueError("it is of other data, settings, or another version of the library")
        return Checkpoint(tuple(header["losses"]), model)


@dataclass
class Checkpoints:
    """The checkpoints of a training, pass by pass; by default none is kept."""

    place: Place | None = None
    _folders: set[str] = field(default_factory=set)

    def of(self, identity: Mapping[str, Any]) -> Series:
        """Return the checkpoints of a pass."""
        series = Series(identity, self.place)
        self._folders.add(series.folder)
        return series

    def keep_newest(self, most: int) -> None:
        """Delete the oldest of what this training did not ask for, until `most` are left or all others were asked for."""
        if self.place is None:
            return
        try:
            written_at = self.place.list()
            idle = sorted(
                (key for key in written_at if key.partition("/")[0] not in self._folders), key=written_at.__getitem__
            )
            for key in idle[: max(0, len(written_at) - most)]:
                self.place.delete(key)
        except BulkheadError as error:
            _LOG.warning("old models are left in %s: %s", self.place.location, error)

    def clear(self) -> None:
        """Delete all but the newest checkpoint of each pass, for the training is complete, and those that others abandoned a week ago.

        The newest stays: the stage may still be killed before DVC has recorded it, and is repeated then.
        """
        if self.place is None:
            return
        try:
            for key in _outlived(self.place.list(), self._folders):
                self.place.delete(key)
        except BulkheadError as error:
            _LOG.warning("checkpoints are left in %s: %s", self.place.location, error)


def _outlived(written_at: Mapping[str, datetime], folders: Collection[str]) -> list[str]:
    oldest = datetime.now(UTC) - _ABANDONED
    newest = {key.partition("/")[0]: key for key in sorted(written_at)}  # the last one of a folder wins
    passed = {key for key in written_at if key.partition("/")[0] in folders} - set(newest.values())
    return [key for key, at in written_at.items() if key in passed or at < oldest]
