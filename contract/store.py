"""The bundle store: the only place where training and serving meet.

    bundles/<digest>/…      a bundle, immutable, never seen half-written
    channels/<name>.json    which bundle a channel names, with its history; moved by compare-and-swap

Training publishes bundles and moves `candidate`; only the fleet moves `live`.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from contract import manifest, signature
from contract.errors import BundleError, ConfigurationError, ConflictError
from contract.files import canonical_json, fsync_directory, write_atomically

_DIGEST = re.compile(r"[0-9a-f]{8,64}")
_CHANNEL = re.compile(r"[a-z][a-z0-9-]{0,40}")
_HISTORY = 100


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


class Store:
    """A bundle store in a directory, given as a path or a `file://` URL.

    Args:
        private_key: signs the bundles that are put (PEM); None for whoever publishes nothing.
        public_key: must verify the signature of every bundle that is used (PEM); None for whoever asks for no signature.
    """

    def __init__(self, location: str, *, private_key: bytes | None = None, public_key: bytes | None = None) -> None:
        parts = urlsplit(location)
        if parts.scheme not in ("", "file"):
            raise ConfigurationError(
                f"store {location!r}: only directories are supported yet; give a path or a file:// URL"
            )
        self.root = Path(parts.path if parts.scheme else location).resolve()
        self._private_key, self._public_key = private_key, public_key

    def put(self, bundle: Path) -> str:
        """Store a bundle under its digest, signed; storing it again changes nothing. Returns the digest."""
        digest = manifest.digest_of(bundle)
        manifest.verify(bundle, digest)
        target = self.root / "bundles" / digest
        if target.exists():
            manifest.verify(target, digest)
            self._sign_if_not_by_us(target)
            return digest
        target.parent.mkdir(parents=True, exist_ok=True)
        incoming = target.parent / f".incoming-{uuid.uuid4().hex}"
        try:
            shutil.copytree(bundle, incoming, symlinks=True)
            manifest.verify(incoming, digest)
            if self._private_key:
                signature.sign(incoming, self._private_key)
            _make_durable_and_read_only(incoming)
            _rename_unless_there(incoming, target)
        finally:
            _remove_tree(incoming)
        return digest

    def _sign_if_not_by_us(self, stored: Path) -> None:
        """A bundle that was published before, unsigned or under another key; its content does not change."""
        if self._private_key is None:
            return
        try:
            signature.verify(stored, signature.public_key_of(self._private_key))
        except BundleError:
            fresh = stored.with_name(f".incoming-{uuid.uuid4().hex}")
            signature.sign(stored, self._private_key, fresh)
            fresh.chmod(0o444)
            stored.chmod(0o755)
            fresh.replace(stored / signature.FILE_NAME)
            stored.chmod(0o555)

    def path(self, digest: str) -> Path:
        """Where a stored bundle lies, its every byte verified, the signature first."""
        path = self.root / "bundles" / digest
        if not path.is_dir():
            raise BundleError(f"no bundle {digest} in the store {self.root}")
        if self._public_key is not None:
            signature.verify(path, self._public_key)
        manifest.verify(path, digest)
        return path

    def digests(self) -> list[str]:
        bundles = self.root / "bundles"
        return (
            sorted(path.name for path in bundles.iterdir() if not path.name.startswith(".")) if bundles.is_dir() else []
        )

    def read(self, channel: str) -> Channel | None:
        """The channel as it stands; None when it was never moved."""
        path = self._channel_path(channel)
        try:
            state = json.loads(path.read_bytes())
            return Channel(channel, state["generation"], state["digest"], tuple(state["history"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{path} is not a channel: {error}") from error

    def move(self, channel: str, digest: str, *, expected: Channel | None, by: str) -> Channel:
        """Point a channel at a stored bundle, if it still is as the caller last read it.

        Args:
            expected: what `read` gave; None for a channel that must not exist yet.
            by: who moves it, for the history.

        Raises:
            ConflictError: somebody else moved the channel since.
            BundleError: the bundle is not in the store, or not intact.
        """
        self.path(digest)
        with self._lock():
            current = self.read(channel)
            if current != expected:
                at = f"at {current.digest[:12]} (move {current.generation})" if current else "gone"
                raise ConflictError(
                    f"channel {channel!r} was moved by somebody else and is now {at}; read it and decide again"
                )
            entry = {"digest": digest, "at": datetime.now(UTC).isoformat(timespec="seconds"), "by": by}
            history = (*(current.history if current else ()), entry)[-_HISTORY:]
            moved = Channel(channel, (current.generation if current else 0) + 1, digest, history)
            state = asdict(moved)
            del state["name"]
            write_atomically(self._channel_path(channel), canonical_json(state))
        return moved

    def resolve(self, reference: str) -> str:
        """The full digest behind a channel's name, a digest, or the first eight or more characters of one."""
        if _DIGEST.fullmatch(reference):
            matches = [digest for digest in self.digests() if digest.startswith(reference)]
            if len(matches) == 1:
                return matches[0]
            raise BundleError(f"{len(matches)} bundles in the store {self.root} begin with {reference}")
        channel = self.read(reference)
        if channel is None:
            raise BundleError(f"the store {self.root} has no channel {reference!r}; publish a bundle first")
        return channel.digest

    def _channel_path(self, channel: str) -> Path:
        if not _CHANNEL.fullmatch(channel):
            raise ConfigurationError(
                f"{channel!r} is not a channel name: lower-case letters, digits and hyphens, a letter first"
            )
        return self.root / "channels" / f"{channel}.json"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        directory = self.root / "channels"
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / ".lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def _make_durable_and_read_only(tree: Path) -> None:
    for path in sorted(tree.rglob("*"), reverse=True):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
            path.chmod(0o444)
        else:
            fsync_directory(path)
            path.chmod(0o555)
    fsync_directory(tree)


def _rename_unless_there(source: Path, target: Path) -> None:
    try:
        source.rename(target)
        fsync_directory(target.parent)
    except OSError:
        if not target.is_dir():
            raise
        # A concurrent publisher of the same bundle was faster: the same digest is the same bytes.


def _remove_tree(tree: Path) -> None:
    if not tree.exists():
        return
    for path in (tree, *tree.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(tree)
