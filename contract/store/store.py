"""The bundle store: the only place where training and serving meet.

    bundles/<digest>/…      a bundle, immutable, never seen half-written
    channels/<name>.json    which bundle a channel names, with its history; moved by compare-and-swap

Training publishes bundles and moves `candidate`; only the fleet moves `live`. Where it lies is `store_directory`'s or `store_objects`'
matter; what is in it, who signed it and who may follow whom is decided here.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from contract.bundle import manifest, signature
from contract.bundle.manifest import Manifest
from contract.errors import BundleError, ConfigurationError, ConflictError
from contract.files import canonical_json
from contract.store.bucket import Objects
from contract.store.directory import Directory
from contract.store.place import Entry, Place, State, hidden, rename_unless_there, seal
from contract.store.providers import PROVIDERS

_DIGEST = re.compile(r"[0-9a-f]{8,64}")
_CHANNEL = re.compile(r"[a-z][a-z0-9-]{0,40}")
_HISTORY = 100
_PATIENCE_S = 2.0  # for a deletion to see that a channel has just moved to what it was about to delete
_POLL_S = 0.05
# A channel that somebody was given before anything moved it: it counts as not there.
RESERVED = canonical_json({"generation": 0, "digest": "", "history": []})


@dataclass(frozen=True)
class Channel:
    """A channel's state: `generation` grows by one with every move; `history` is oldest first and ends with the present one."""

    name: str
    generation: int
    digest: str
    history: tuple[dict[str, str], ...]

    @property
    def previous(self) -> str | None:
        """The newest digest before the present one that differs from it."""
        return next((entry["digest"] for entry in reversed(self.history) if entry["digest"] != self.digest), None)

    def to_bytes(self) -> bytes:
        state = asdict(self)
        del state["name"]
        return canonical_json(state)

    def moved(self, digest: str, by: str, now: datetime) -> Channel:
        """One move on. `id` is this move's alone, so that who made it knows it again."""
        entry = {"digest": digest, "at": now.isoformat(timespec="seconds"), "by": by, "id": uuid.uuid4().hex}
        return Channel(self.name, self.generation + 1, digest, (*self.history, entry)[-_HISTORY:])


class Store:
    """A bundle store.

    Args:
        location: a directory, as a path or a `file://` URL, or `s3://`, `gs://` or `az://bucket/prefix`.
        private_key: signs the bundles that are put (PEM); None for whoever publishes nothing.
        trusted: gives the public keys (PEM) one of which must have signed a bundle that is used; None for whoever asks for no signature.
        cache: where copies of bundles from a bucket are kept; a directory's are used where they lie.

    Every method raises ConfigurationError where it is not permitted, or the location is wrong, and UnavailableError where the disk or
    the network fails.
    """

    def __init__(
        self,
        location: str,
        *,
        private_key: bytes | None = None,
        trusted: Callable[[], Sequence[bytes]] | None = None,
        cache: Path = Path("var/bundles"),
    ) -> None:
        self.place = _place(location, cache)
        self.location = self.place.location
        self._private_key, self._trusted = private_key, trusted

    def put(self, bundle: Path) -> str:
        """Store a bundle under its digest, signed; storing it again changes nothing but its age. Returns the digest."""
        digest = manifest.digest_of(bundle)
        with self.place.explained("put a bundle"):
            claims = manifest.verify(bundle, digest)
            if self.place.holds(digest, claims.files):
                self.place.freshen(digest)
            else:
                self.place.add(bundle, digest, lambda copy: self._prepare(copy, digest))
            stored = self.place.fetch(digest, lambda path: manifest.verify(path, digest))
            self._sign_if_not_trusted(digest, stored)
        return digest

    def path(self, digest: str) -> Path:
        """Where a stored bundle lies on this machine, its every byte verified, the signature first."""
        with self.place.explained("read a bundle"):
            return self.place.fetch(digest, lambda path: self._check(path, digest))

    def copy(self, digest: str, directory: Path) -> Path:
        """A copy of a stored bundle, by its digest, in a directory of this machine: readable by this user alone, and verified.

        A copy that is there already is used without the store; one that does not verify is replaced.
        """
        target = directory / digest
        with self.place.explained("copy a bundle"):
            if self._is_intact(target, digest):
                return target
            with hidden(directory) as copy, hidden(directory) as spoiled:
                self.place.copy(digest, copy)
                self._check(copy, digest)
                seal(copy, 0o400)
                if target.exists():
                    target.rename(spoiled)
                rename_unless_there(copy, target)
        return target

    def claims(self, digest: str) -> Manifest:
        """What a stored bundle claims; its other files are not looked at."""
        with self.place.explained("read a manifest"):
            return manifest.parse(self.place.read_manifest(digest), digest)

    def entries(self) -> list[Entry]:
        with self.place.explained("list the bundles"):
            return self.place.entries()

    def digests(self) -> list[str]:
        return [entry.name for entry in self.entries()]

    def channels(self) -> list[Channel]:
        """Those that were ever moved, by name."""
        with self.place.explained("list the channels"):
            names = self.place.channels()
        return [channel for channel in map(self.read, names) if channel]

    def read(self, channel: str) -> Channel | None:
        """The channel as it stands; None when it was never moved."""
        return _parsed(channel, self._state(channel))

    def move(self, channel: str, digest: str, *, expected: Channel | None, by: str) -> Channel:
        """Point a channel at a stored bundle, if it still is as the caller last read it.

        Args:
            expected: what `read` gave; None for a channel that must not exist yet.
            by: who moves it, for the history.

        Raises:
            ConflictError: somebody else moved the channel since.
            BundleError: the bundle is not in the store, or not intact.
        """
        before = self._state(channel)
        current = _parsed(channel, before)
        if current != expected:
            raise _conflict(channel, current)
        self.path(digest)
        moved = (current or Channel(channel, 0, "", ())).moved(digest, by, datetime.now(UTC))
        with self.place.explained(f"move the channel {channel!r}"):
            if not self.place.swap(channel, moved.to_bytes(), before.version if before else None):
                current = self.read(channel)
                # A server that was asked twice, since its first answer got lost, refuses what it has done already.
                if current is None or moved.history[-1] not in current.history:
                    raise _conflict(channel, current)
            self._require_not_deleted(channel, moved, before)
        return moved

    def resolve(self, reference: str) -> str:
        """The full digest behind a channel's name, a digest, or the first eight or more characters of one."""
        if _DIGEST.fullmatch(reference):
            matches = [digest for digest in self.digests() if digest.startswith(reference)]
            if len(matches) == 1:
                return matches[0]
            raise BundleError(f"{len(matches)} bundles in the store {self.location} begin with {reference}")
        channel = self.read(reference)
        if channel is None:
            raise BundleError(f"the store {self.location} has no channel {reference!r}; publish a bundle first")
        return channel.digest

    def needed(self) -> set[str]:
        """The bundles that a channel names, or has named as far as its history goes."""
        return {entry["digest"] for channel in self.channels() for entry in channel.history}

    def remove(self, digest: str, is_kept: Callable[[], bool] = lambda: False) -> bool:
        """Delete a bundle, unless a channel needs it or it is kept once nobody can find it any more; whether it is gone."""
        with self.place.explained("delete a bundle"):
            return self.place.remove(digest, lambda: digest in self.needed() or is_kept())

    def leftovers(self) -> list[Entry]:
        """What uploads and deletions that were cut short have left; those in progress look the same."""
        with self.place.explained("list what was cut short"):
            return self.place.leftovers()

    def remove_leftover(self, name: str) -> None:
        with self.place.explained("delete what was cut short"):
            self.place.remove_leftover(name)

    def _prepare(self, copy: Path, digest: str) -> None:
        manifest.verify(copy, digest)
        if self._private_key:
            signature.sign(copy, self._private_key)

    def _check(self, path: Path, digest: str) -> None:
        if self._trusted is not None:
            signature.verify(path, self._trusted())
        manifest.verify(path, digest)

    def _is_intact(self, path: Path, digest: str) -> bool:
        try:
            self._check(path, digest)
        except BundleError:
            return False
        return True

    def _sign_if_not_trusted(self, digest: str, stored: Path) -> None:
        """A bundle that was published before, unsigned or under a key that is trusted no more; its content does not change."""
        if self._private_key is None:
            return
        trusted = self._trusted() if self._trusted else ()
        try:
            signature.verify(stored, (signature.public_key_of(self._private_key), *trusted))
        except BundleError:
            with tempfile.TemporaryDirectory() as directory:
                fresh = Path(directory) / signature.FILE_NAME
                signature.sign(stored, self._private_key, fresh)
                self.place.replace_signature(digest, fresh.read_bytes())

    def _require_not_deleted(self, channel: str, moved: Channel, before: State | None) -> None:
        """A deletion that began before the move either sees it and brings the bundle back, or was too far: then the move is undone."""
        until = time.monotonic() + _PATIENCE_S
        while not self.place.holds(moved.digest):
            if time.monotonic() > until:
                state = self._state(channel)
                if state and state.content == moved.to_bytes():
                    self.place.swap(channel, before.content if before else RESERVED, state.version)
                raise BundleError(f"the bundle {moved.digest} was deleted meanwhile; publish it again")
            time.sleep(_POLL_S)

    def _state(self, channel: str) -> State | None:
        if not _CHANNEL.fullmatch(channel):
            raise ConfigurationError(
                f"{channel!r} is not a channel name: lower-case letters, digits and hyphens, a letter first"
            )
        with self.place.explained(f"read the channel {channel!r}"):
            return self.place.read(channel)


def _place(location: str, cache: Path) -> Place:
    parts = urlsplit(location)
    if parts.scheme in ("", "file"):
        return Directory(Path(parts.path if parts.scheme else location).resolve())
    if parts.scheme in PROVIDERS and parts.netloc:
        return Objects(location, cache)
    raise ConfigurationError(
        f"store {location!r}: give a directory, a file:// URL, or one of {', '.join(f'{name}://' for name in PROVIDERS)} with "
        "bucket/prefix; which of two publishers wins is known only for these"
    )


def _parsed(name: str, state: State | None) -> Channel | None:
    if state is None or state.content == RESERVED:
        return None
    try:
        content = json.loads(state.content)
        return Channel(name, content["generation"], content["digest"], tuple(content["history"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"channels/{name}.json is not a channel: {error}") from error


def _conflict(channel: str, current: Channel | None) -> ConflictError:
    at = f"at {current.digest[:12]} (move {current.generation})" if current else "gone"
    return ConflictError(f"channel {channel!r} was moved by somebody else and is now {at}; read it and decide again")
