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

from contract import manifest, signature
from contract.errors import BulkheadError, BundleError, ConfigurationError
from contract.remote import failure
from contract.store_place import (
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

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_LOST = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}


class Objects:
    """`location` is `s3://bucket/prefix`; credentials, endpoint and region are those of the environment.

    Args:
        cache: a directory of this machine for copies of bundles.
    """

    def __init__(self, location: str, cache: Path) -> None:
        self.location = location.rstrip("/")
        self._cache = cache

    @contextmanager
    def explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except BulkheadError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and (error.filename or error.errno in _NO_ROOM):  # of the cache
                raise disk_failure(error, doing, str(self._cache)) from error
            reason = " ".join((str(error) or type(error).__name__).split())[:300]
            raise failure(error, f"cannot {doing}: {self.location}", reason, "used so") from error

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        import fsspec

        # A system of our own: nothing that it lists is old, and the environment is read now.
        system, place = fsspec.core.url_to_fs(self.location, skip_instance_cache=True, use_listings_cache=False)
        return system, place

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
        listing = self._listing(f"bundles/{digest}")
        if manifest.FILE_NAME not in listing:
            raise self._missing(digest)
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

    def read_manifest(self, digest: str) -> bytes:
        try:
            return bytes(self._system.cat_file(self._manifest_url(digest)))
        except FileNotFoundError as error:
            if _code(error) == "NoSuchBucket":
                raise
            raise self._missing(digest) from None

    def replace_signature(self, digest: str, content: bytes) -> None:
        self._system.pipe_file(self._url(f"bundles/{digest}/{signature.FILE_NAME}"), content)

    def channels(self) -> list[str]:
        names = map(PurePosixPath, self._listing("channels"))
        return sorted(name.stem for name in names if name.suffix == ".json")

    def read(self, channel: str) -> State | None:
        async def get() -> State:
            answer = await self._system._call_s3("get_object", **self._channel(channel))
            async with answer["Body"] as body:
                return State(await body.read(), answer["ETag"])

        from fsspec.asyn import sync

        try:
            state: State = sync(self._system.loop, get)
        except FileNotFoundError as error:
            if _code(error) == "NoSuchBucket":
                raise
            return None
        return state

    def swap(self, channel: str, content: bytes, version: str | None) -> bool:
        condition = {"IfMatch": version} if version else {"IfNoneMatch": "*"}
        if not self._write_if(channel, content, condition):
            return False
        if self._write_if(channel, content, condition):  # what was true a moment ago
            raise ConfigurationError(
                f"the server of {self.location} ignores the conditions of writes (If-Match, If-None-Match), so that of two "
                "publishers both would win; use a server that heeds them"
            )
        return True

    def _write_if(self, channel: str, content: bytes, condition: Mapping[str, str]) -> bool:
        try:
            self._system.call_s3("put_object", **self._channel(channel), Body=content, **condition)
        except OSError as error:
            if isinstance(error, FileExistsError) or _code(error) in _LOST:
                return False
            raise
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
            _entry(digest, files, max(files.values(), key=lambda info: info["LastModified"]))
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

    def _channel(self, channel: str) -> dict[str, str]:
        bucket, _, key = self._url(f"channels/{channel}.json").partition("/")
        return {"Bucket": bucket, "Key": key}

    def _listing(self, folder: str) -> dict[str, dict[str, Any]]:
        """What is said of every object below a folder, by relative path."""
        url = self._url(folder)
        return {path.removeprefix(f"{url}/"): info for path, info in self._system.find(url, detail=True).items()}

    def _trees(self) -> dict[str, dict[str, dict[str, Any]]]:
        """The objects of each bundle, whole or not, by digest."""
        trees: dict[str, dict[str, dict[str, Any]]] = {}
        for path, info in self._listing("bundles").items():
            digest, _, name = path.partition("/")
            trees.setdefault(digest, {})[name] = info
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

    def _missing(self, digest: str) -> BundleError:
        return BundleError(f"no bundle {digest} in the store {self.location}")


def _entry(name: str, files: Mapping[str, dict[str, Any]], newest: Mapping[str, Any]) -> Entry:
    return Entry(name, sum(info["size"] for info in files.values()), newest["LastModified"])


def _fingerprint(listing: Mapping[str, Mapping[str, Any]]) -> str:
    """Another one as soon as an object is another one."""
    lines = [f"{name} {info['size']} {info['ETag']}" for name, info in sorted(listing.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _code(error: BaseException) -> str:
    """The object store's own name for the failure."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))
