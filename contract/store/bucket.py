"""The bundle store in a bucket.

A bundle exists while its manifest does: that object is written last and deleted first. A channel is swapped by a conditional write of
the object store, without a lock. Bundles are used from copies in a local cache.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from contract.bundle import manifest, signature
from contract.errors import BundleError, ConfigurationError
from contract.store.place import (
    Entry,
    State,
    disk_failure,
    entries_of,
    hidden,
    is_complete,
    listed,
    remove_tree,
    rename_unless_there,
    seal,
)
from contract.store.providers import Bucket, Listed, explained

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_AT_ONCE = 8


class Objects:
    """A place below `PROTOCOL://bucket/prefix`; credentials, endpoint and region come from the environment.

    Args:
        cache: a local directory for copies of bundles.
    """

    def __init__(self, location: str, cache: Path) -> None:
        self.location = location.rstrip("/")
        self._cache = cache
        self.bucket = Bucket(self.location)

    @contextmanager
    def explained(self, doing: str) -> Iterator[None]:
        with explained(f"{doing}: {self.location}"):
            try:
                yield
            except OSError as error:
                if error.filename or error.errno in _NO_ROOM:  # obstore's name no file
                    raise disk_failure(error, doing, str(self._cache)) from error
                raise

    def entries(self) -> list[Entry]:
        return [
            _entry(digest, files, files[manifest.FILE_NAME])
            for digest, files in self._trees().items()
            if manifest.FILE_NAME in files
        ]

    def holds(self, digest: str, files: Collection[str] = ()) -> bool:
        return is_complete(self.bucket.list(f"bundles/{digest}"), files)

    def add(self, bundle: Path, digest: str, prepare: Callable[[Path], None]) -> bool:
        """Upload the bundle from a private copy, so that it cannot change meanwhile; overwrite what an earlier try left."""
        with hidden(self._cache) as copy:
            shutil.copytree(bundle, copy, symlinks=True)
            prepare(copy)
            names = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
            # The manifest goes last: until it is there, readers and `leftovers` take the upload as incomplete.
            _each(lambda name: self.bucket.write(_key(digest, name), copy / name), names - {manifest.FILE_NAME})
            self.bucket.write(_key(digest), copy / manifest.FILE_NAME)
        return False

    def freshen(self, digest: str) -> None:
        # Object stores have no `touch`; the same bytes, written again, get a new time.
        self.bucket.write(_key(digest), self.read_manifest(digest))

    def fetch(self, digest: str, check: Callable[[Path], object]) -> Path:
        """Return the cached copy of the present objects, or download them."""
        listing = self._existing(digest)
        # A new signature is a new name: a cached copy with the old one may still be in use.
        target = self._cache.absolute() / f"{digest}-{_fingerprint(listing)}"
        try:
            if target.is_dir():
                check(target)
                return target
        except BundleError:  # corrupt here, or bad in the bucket: a fresh download decides
            remove_tree(target)
        with hidden(target.parent) as copy:
            self._download(digest, listing, copy)
            check(copy)
            seal(copy)
            rename_unless_there(copy, target)
        return target

    def copy(self, digest: str, target: Path) -> None:
        self._download(digest, self._existing(digest), target)

    def read_manifest(self, digest: str) -> bytes:
        state = self.bucket.read(_key(digest))
        if state is None:
            raise self._missing(digest)
        return state.content

    def replace_signature(self, digest: str, content: bytes) -> None:
        self.bucket.write(_key(digest, signature.FILE_NAME), content)

    def channels(self) -> list[str]:
        names = map(PurePosixPath, self.bucket.list("channels"))
        return sorted(name.stem for name in names if name.suffix == ".json")

    def read(self, channel: str) -> State | None:
        return self.bucket.read(_channel(channel))

    def swap(self, channel: str, content: bytes, version: str | None) -> bool:
        if not self.bucket.swap(_channel(channel), content, version):
            return False
        # The version has just changed, so a server that honours conditions refuses the same write now.
        if self.bucket.swap(_channel(channel), content, version):
            raise ConfigurationError(
                f"the object store of {self.location} ignores conditional writes, so concurrent publishers would overwrite each "
                "other; use one that supports If-Match and If-None-Match"
            )
        return True

    def remove(self, digest: str, is_needed: Callable[[], bool]) -> bool:
        content = self.read_manifest(digest)
        # Hidden before it is checked: a channel that moves here later finds no bundle, an earlier move is seen by the check.
        self.bucket.delete(_key(digest))
        if is_needed():
            self.bucket.write(_key(digest), content)
            return False
        self.remove_leftover(digest)
        return True

    def leftovers(self) -> list[Entry]:
        """Return incomplete uploads in the bucket, by digest, and incomplete downloads in the cache, which begin with a dot."""
        torn = [
            _entry(digest, files, max(files.values(), key=lambda object_: object_.stored_at))
            for digest, files in self._trees().items()
            if manifest.FILE_NAME not in files
        ]
        return torn + entries_of(path for path in listed(self._cache) if path.name.startswith("."))

    def remove_leftover(self, name: str) -> None:
        """Delete all objects but a manifest: one that arrived meanwhile belongs to an upload in progress."""
        if name.startswith("."):
            remove_tree(self._cache / name)
            return
        for file in self.bucket.list(f"bundles/{name}"):
            if file != manifest.FILE_NAME:
                self.bucket.delete(_key(name, file))

    def _trees(self) -> dict[str, dict[str, Listed]]:
        """Return the objects of each bundle, complete or not, by digest."""
        trees: dict[str, dict[str, Listed]] = {}
        for path, object_ in self.bucket.list("bundles").items():
            digest, _, name = path.partition("/")
            trees.setdefault(digest, {})[name] = object_
        return trees

    def _download(self, digest: str, names: Collection[str], target: Path) -> None:
        for directory in {(target / name).parent for name in names}:
            directory.mkdir(parents=True, exist_ok=True)
        _each(lambda name: self.bucket.download(_key(digest, name), target / name), names)

    def _existing(self, digest: str) -> dict[str, Listed]:
        listing = self.bucket.list(f"bundles/{digest}")
        if manifest.FILE_NAME not in listing:
            raise self._missing(digest)
        return listing

    def _missing(self, digest: str) -> BundleError:
        return BundleError(f"no bundle {digest} in the store {self.location}")


def _key(digest: str, name: str = manifest.FILE_NAME) -> str:
    return f"bundles/{digest}/{name}"


def _channel(name: str) -> str:
    return f"channels/{name}.json"


def _each(action: Callable[[str], None], names: Iterable[str]) -> None:
    """Run the action for several names at once; the first failure cancels those not begun."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(action, names))


def _entry(name: str, files: Mapping[str, Listed], newest: Listed) -> Entry:
    return Entry(name, sum(object_.size_bytes for object_ in files.values()), newest.stored_at)


def _fingerprint(listing: Mapping[str, Listed]) -> str:
    """Return a digest of a listing that changes with any object's version."""
    lines = [f"{name} {object_.size_bytes} {object_.version}" for name, object_ in sorted(listing.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
