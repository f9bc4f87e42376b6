"""The bundle store: the only place where training and serving meet.

    bundles/<digest>/…      a bundle, immutable, never seen half-written
    channels/<name>.json    the digest that a channel names, and its history; moved by compare-and-swap

Training publishes bundles and moves `candidate`; only the fleet moves `live`. `directory` and `bucket` store the bytes; this module
verifies content and signatures, and orders the moves of a channel.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from contract.bundle import manifest, signature
from contract.bundle.manifest import Manifest
from contract.errors import BundleError, ConfigurationError
from contract.store.bucket import Objects
from contract.store.channel import RESERVED, Channel, conflict, parsed
from contract.store.directory import Directory
from contract.store.place import Entry, Place, State, hidden, local_path, rename_unless_there, seal
from contract.store.providers import PROVIDERS, SCHEMES

_DIGEST = re.compile(r"[0-9a-f]{8,64}")
_CHANNEL = re.compile(r"[a-z][a-z0-9-]{0,40}")
_PATIENCE_S = 2.0  # for a deletion in progress to see that a channel has just moved to its bundle
_POLL_S = 0.05


class Store:
    """A bundle store.

    Args:
        location: a directory, as a path or a `file://` URL, or `s3://`, `gs://` or `az://bucket/prefix`.
        private_key: signs the bundles that are put (PEM); None to publish nothing.
        trusted: returns the public keys (PEM), one of which must have signed each bundle that is used; None to require no signature.
        cache: directory for copies of bundles from a bucket; those in a directory are used in place.

    Every method raises ConfigurationError for missing permissions or a wrong location, and UnavailableError if the disk or the network
    fails.
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
        self._verified: set[str] = (
            set()
        )  # by this process, on their way in or out: what happens to one is seen where it is used next

    def put(self, bundle: Path) -> str:
        """Store a bundle under its digest, signed, and return the digest; storing it again changes only its age."""
        digest = manifest.digest_of(bundle)
        with self.place.explained("put a bundle"):
            if self.place.holds(digest, manifest.read(bundle).files):
                self.place.freshen(digest)  # `gc` spares the young, and a channel is about to move to this one
            elif self.place.add(bundle, digest, lambda copy: self._prepare(copy, digest)):
                if self._is_own_trusted():
                    self._verified.add(digest)
                return digest
            stored = self.place.fetch(digest, lambda path: manifest.verify(path, digest))
            self._sign_if_not_trusted(digest, stored)
        return digest

    def path(self, digest: str) -> Path:
        """Return the local path of a stored bundle, its signature and every byte verified."""
        with self.place.explained("read a bundle"):
            return self.place.fetch(digest, lambda path: self._check(path, digest))

    def copy(self, digest: str, directory: Path) -> Path:
        """Return a verified copy of a stored bundle in a local directory, readable by this user alone.

        An intact copy is used without the store; a corrupt one is replaced.
        """
        target = directory / digest
        with self.place.explained("copy a bundle"):
            if self._is_intact(target, digest):
                return target
            with hidden(directory) as copy, hidden(directory) as spoiled:
                self.place.copy(digest, copy)
                self._check(copy, digest)
                self._verified.add(digest)
                seal(copy, 0o400)
                # Renamed, not deleted, out of the way: a replica that starts meanwhile must not run half of it.
                if target.exists():
                    target.rename(spoiled)
                rename_unless_there(copy, target)
        return target

    def claims(self, digest: str) -> Manifest:
        """Return the manifest of a stored bundle, its digest verified; the other files are not read."""
        with self.place.explained("read a manifest"):
            return manifest.parse(self.place.read_manifest(digest), digest)

    def entries(self) -> list[Entry]:
        """Return the stored bundles."""
        with self.place.explained("list the bundles"):
            return self.place.entries()

    def digests(self) -> list[str]:
        """Return the digests of the stored bundles."""
        return [entry.name for entry in self.entries()]

    def channels(self) -> list[Channel]:
        """Return the channels that were ever moved, by name."""
        with self.place.explained("list the channels"):
            names = self.place.channels()
        return [channel for channel in map(self.read, names) if channel]

    def read(self, channel: str) -> Channel | None:
        """Return a channel's state, or None if it was never moved."""
        return parsed(channel, self._state(channel))

    def move(self, channel: str, digest: str, *, expected: Channel | None, by: str) -> Channel:
        """Point a channel at a stored bundle, if the channel is unchanged since the caller read it.

        Args:
            expected: the state that `read` returned; None for a channel that must not exist yet.
            by: the name in the history.

        Raises:
            ConflictError: somebody else has moved the channel since.
            BundleError: the bundle is not in the store, or corrupt.
        """
        before = self._state(channel)
        current = parsed(channel, before)
        if current != expected:
            raise conflict(channel, current)
        if digest not in self._verified:
            self.path(digest)
        moved = (current or Channel(channel, 0, "", ())).moved(digest, by, datetime.now(UTC))
        with self.place.explained(f"move the channel {channel!r}"):
            if not self.place.swap(channel, moved.to_bytes(), before.version if before else None):
                current = self.read(channel)
                # A retry whose first response was lost is refused, since its own write has changed the version.
                if current is None or moved.history[-1] not in current.history:
                    raise conflict(channel, current)
            self._require_not_deleted(channel, moved, before)
        return moved

    def resolve(self, reference: str) -> str:
        """Return the digest for a channel's name, a digest, or its first eight or more characters."""
        if _DIGEST.fullmatch(reference):
            matches = [digest for digest in self.digests() if digest.startswith(reference)]
            # Only a unique prefix: a second bundle must not change what a script means.
            if len(matches) == 1:
                return matches[0]
            raise BundleError(
                f"{len(matches)} bundles in the store {self.location} have a digest that begins with {reference}; list them with "
                "`bin/store list`"
            )
        channel = self.read(reference)
        if channel is None:
            raise BundleError(f"the store {self.location} has no channel {reference!r}; publish a bundle first")
        return channel.digest

    def needed(self) -> set[str]:
        """Return the digests in the histories of all channels."""
        return {entry["digest"] for channel in self.channels() for entry in channel.history}

    def remove(self, digest: str, is_kept: Callable[[], bool] = lambda: False) -> bool:
        """Delete a bundle, unless, once hidden, a channel needs it or `is_kept` says so; return whether it is deleted."""
        with self.place.explained("delete a bundle"):
            return self.place.remove(digest, lambda: digest in self.needed() or is_kept())

    def leftovers(self) -> list[Entry]:
        """Return the leftovers of interrupted uploads and deletions; those in progress look the same."""
        with self.place.explained("list leftovers"):
            return self.place.leftovers()

    def remove_leftover(self, name: str) -> None:
        """Delete one of `leftovers`, by its name."""
        with self.place.explained("delete a leftover"):
            self.place.remove_leftover(name)

    def _prepare(self, copy: Path, digest: str) -> None:
        manifest.verify(copy, digest)
        if self._private_key:
            signature.sign(copy, self._private_key)

    def _check(self, path: Path, digest: str) -> None:
        if self._trusted is not None:
            # Keys are read at each use: one that was withdrawn must not count until a restart.
            signature.verify(path, self._trusted())
        manifest.verify(path, digest)

    def _is_intact(self, path: Path, digest: str) -> bool:
        try:
            self._check(path, digest)
        except BundleError:
            return False
        return True

    def _is_own_trusted(self) -> bool:
        """Return whether this store accepts bundles as it stores them, signed or not."""
        if self._trusted is None:
            return True
        return self._private_key is not None and signature.public_key_of(self._private_key) in self._trusted()

    def _sign_if_not_trusted(self, digest: str, stored: Path) -> None:
        """Sign a stored bundle again if its signature is missing or no longer trusted; its content does not change."""
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
        """Undo the move if a deletion that began before it has won.

        A deletion that sees the move in time restores the bundle.
        """
        until = time.monotonic() + _PATIENCE_S
        while not self.place.holds(moved.digest):
            if time.monotonic() > until:
                state = self._state(channel)
                if state and state.content == moved.to_bytes():
                    self.place.swap(channel, before.content if before else RESERVED, state.version)
                raise BundleError(f"the bundle {moved.digest} was deleted during the move; publish it again")
            time.sleep(_POLL_S)

    def _state(self, channel: str) -> State | None:
        if not _CHANNEL.fullmatch(channel):
            raise ConfigurationError(
                f"{channel!r} is not a channel name; use at most 41 lower-case letters, digits and hyphens, a letter first"
            )
        with self.place.explained(f"read the channel {channel!r}"):
            return self.place.read(channel)


def _place(location: str, cache: Path) -> Place:
    if (path := local_path(location)) is not None:
        if path.is_file():
            raise ConfigurationError(f"store {location!r} is a file; give a directory")
        return Directory(path.resolve())
    parts = urlsplit(location)
    if parts.scheme in PROVIDERS and parts.netloc:
        return Objects(location, cache)
    raise ConfigurationError(
        f"store {location!r} is unsupported: give a directory, a file:///path URL, or bucket/prefix after one of "
        f"{SCHEMES}; only these have safe conditional writes"
    )
