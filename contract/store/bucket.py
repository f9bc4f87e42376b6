"""A store in a bucket, over fsspec: a bundle is there when its manifest is, which is written last and deleted first.

A channel is swapped by a conditional write of the object store itself; nobody holds a lock. Bundles are used from copies in a cache.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from contract.bundle import manifest, signature
from contract.errors import BulkheadError, BundleError, ConfigurationError
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
from contract.store.providers import PROTOCOLS, Listed, is_without_bucket
from contract.store.remote import failure

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


class Objects:
    """`location` is `PROTOCOL://bucket/prefix`; credentials, endpoint and region are those of the environment.

    Args:
        cache: a directory of this machine for copies of bundles.
    """

    def __init__(self, location: str, cache: Path) -> None:
        self.location = location.rstrip("/")
        self._cache = cache
        parts = urlsplit(self.location)
        self._protocol, self._bucket = PROTOCOLS[parts.scheme], parts.netloc

    @contextmanager
    def explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except BulkheadError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and self._is_of_cache(error):
                raise disk_failure(error, doing, str(self._cache)) from error
            reason = " ".join((str(error) or type(error).__name__).split())[:300]
            raise failure(error, f"cannot {doing}: {self.location}", reason, "used so") from error

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        return self._protocol.open(self.location)

    def entries(self) -> list[Entry]:
        return [
            _entry(digest, files, files[manifest.FILE_NAME])
            for digest, files in self._trees().items()
            if manifest.FILE_NAME in files
        ]

    def holds(self, digest: str, files: Collection[str] = ()) -> bool:
        return is_complete(self._listing(f"bundles/{digest}"), files)

    def add(self, bundle: Path, digest: str, prepare: Callable[[Path], None]) -> None:
        """From a copy that nobody changes meanwhile; what an earlier try has left is written over."""
        with hidden(self._cache) as copy:
            shutil.copytree(bundle, copy, symlinks=True)
            prepare(copy)
            files = [path for path in sorted(copy.rglob("*")) if path.is_file() and path != copy / manifest.FILE_NAME]
            names = [self._url(f"bundles/{digest}/{path.relative_to(copy).as_posix()}") for path in files]
            self._system.put(list(map(str, files)), names)
            self._system.put_file(str(copy / manifest.FILE_NAME), self._manifest_url(digest))

    def freshen(self, digest: str) -> None:
        self._system.pipe_file(self._manifest_url(digest), self.read_manifest(digest))

    def fetch(self, digest: str, check: Callable[[Path], object]) -> Path:
        """From the cache, if that has a copy of the very objects that are there now."""
        listing = self._existing(digest)
        target = self._cache.absolute() / f"{digest}-{_fingerprint(listing)}"
        try:
            if target.is_dir():
                check(target)
                return target
        except BundleError:  # decayed here, or bad there; what is there decides
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
        try:
            return bytes(self._system.cat_file(self._manifest_url(digest)))
        except FileNotFoundError as error:
            if is_without_bucket(error):
                raise
            raise self._missing(digest) from None

    def replace_signature(self, digest: str, content: bytes) -> None:
        self._system.pipe_file(self._url(f"bundles/{digest}/{signature.FILE_NAME}"), content)

    def channels(self) -> list[str]:
        names = map(PurePosixPath, self._listing("channels"))
        return sorted(name.stem for name in names if name.suffix == ".json")

    def read(self, channel: str) -> State | None:
        return self._protocol.read(self._system, *self._channel(channel))

    def swap(self, channel: str, content: bytes, version: str | None) -> bool:
        place = self._channel(channel)
        if not self._protocol.write(self._system, *place, content, version):
            return False
        if self._protocol.write(self._system, *place, content, version):  # what was true a moment ago
            raise ConfigurationError(
                f"the server of {self.location} ignores the conditions of writes, so that of two publishers both would win; "
                "use a server that heeds them"
            )
        return True

    def remove(self, digest: str, is_needed: Callable[[], bool]) -> bool:
        content = self.read_manifest(digest)
        self._system.rm_file(self._manifest_url(digest))
        if is_needed():
            self._system.pipe_file(self._manifest_url(digest), content)
            return False
        self.remove_leftover(digest)
        return True

    def leftovers(self) -> list[Entry]:
        """Those of the bucket, by digest, and those of the cache, which begin with a dot."""
        torn = [
            _entry(digest, files, max(files.values(), key=lambda object_: object_.stored_at))
            for digest, files in self._trees().items()
            if manifest.FILE_NAME not in files
        ]
        return torn + entries_of(path for path in listed(self._cache) if path.name.startswith("."))

    def remove_leftover(self, name: str) -> None:
        """All but a manifest: where one has come meanwhile, its upload is looked after by who makes it."""
        if name.startswith("."):
            remove_tree(self._cache / name)
            return
        for file in self._listing(f"bundles/{name}"):
            if file != manifest.FILE_NAME:
                self._system.rm_file(self._url(f"bundles/{name}/{file}"))

    @property
    def _system(self) -> Any:
        return self._opened[0]

    def _url(self, name: str) -> str:
        return f"{self._opened[1]}/{name}"

    def _manifest_url(self, digest: str) -> str:
        return self._url(f"bundles/{digest}/{manifest.FILE_NAME}")

    def _channel(self, channel: str) -> tuple[str, str]:
        bucket, _, key = self._url(f"channels/{channel}.json").partition("/")
        return bucket, key

    def _is_of_cache(self, error: OSError) -> bool:
        """adlfs names an object that is not there as if it were a file."""
        is_object = isinstance(error, FileNotFoundError) and str(error.filename).startswith(self._bucket)
        return error.errno in _NO_ROOM or (bool(error.filename) and not is_object)

    def _listing(self, folder: str) -> dict[str, Listed]:
        return self._protocol.list(self._system, self._url(folder))

    def _trees(self) -> dict[str, dict[str, Listed]]:
        """The objects of each bundle, whole or not, by digest."""
        trees: dict[str, dict[str, Listed]] = {}
        for path, object_ in self._listing("bundles").items():
            digest, _, name = path.partition("/")
            trees.setdefault(digest, {})[name] = object_
        return trees

    def _download(self, digest: str, names: Collection[str], target: Path) -> None:
        outside = [name for name in names if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute()]
        if outside:
            raise BundleError(
                f"bundle {digest} in {self.location} has the object {outside[0]!r}, which lies outside of it"
            )
        self._system.get(
            [self._url(f"bundles/{digest}/{name}") for name in names], [str(target / name) for name in names]
        )

    def _existing(self, digest: str) -> dict[str, Listed]:
        listing = self._listing(f"bundles/{digest}")
        if manifest.FILE_NAME not in listing:
            raise self._missing(digest)
        return listing

    def _missing(self, digest: str) -> BundleError:
        return BundleError(f"no bundle {digest} in the store {self.location}")


def _entry(name: str, files: Mapping[str, Listed], newest: Listed) -> Entry:
    return Entry(name, sum(object_.size_bytes for object_ in files.values()), newest.stored_at)


def _fingerprint(listing: Mapping[str, Listed]) -> str:
    """Another one as soon as an object is another one."""
    lines = [f"{name} {object_.size_bytes} {object_.version}" for name, object_ in sorted(listing.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
