"""What differs between object stores: how one object is read and replaced on a condition, and what a listing says.

Everything else is fsspec's, whose drivers have no call for a replacement that asks whether somebody else was there first. A version
stands for one content of an object: an ETag of S3 and Azure, a generation of Google.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from contract.errors import ConfigurationError
from contract.store.place import State

_LOST = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}
_TRIES = 10


@dataclass(frozen=True)
class Listed:
    """One object of a listing. `stored_at` is when this version of it was written, by the object store's clock."""

    size_bytes: int
    version: str
    stored_at: datetime


@dataclass(frozen=True)
class Protocol:
    """How one kind of object store is spoken with.

    Attributes:
        package: fsspec's driver for it.
        version, stored_at: what the driver's listings call them.
        read: (system, bucket, key) → the object, None where it is not there. Raises where the bucket is not there.
        write: (system, bucket, key, content, version) → whether it was still of that version (None: not there), and so was written.
    """

    package: str
    version: str
    stored_at: str
    read: Callable[[Any, str, str], State | None]
    write: Callable[[Any, str, str, bytes, str | None], bool]

    def open(self, location: str) -> tuple[Any, str]:
        """The file system of a URL, and the path in it. Raises ConfigurationError where this environment lacks the driver."""
        try:
            importlib.import_module(self.package)
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"store {location!r} needs the package {self.package}, which the environment {sys.prefix} lacks "
                f"({error}); add it to that environment's file in requirements/, then `make lock`"
            ) from error
        import fsspec

        # A system of our own: nothing that it lists is old, and the environment is read now.
        system, path = fsspec.core.url_to_fs(location, skip_instance_cache=True, use_listings_cache=False)
        return system, path

    def list(self, system: Any, folder: str) -> dict[str, Listed]:
        """Every object below a folder, by relative path. Raises where the bucket is not there."""
        # s3fs finds the folder itself where the first object arrives between two of its requests.
        found = {path: info for path, info in system.find(folder, detail=True).items() if info["type"] == "file"}
        if not found:  # adlfs finds nothing in a container that is not there, but cannot read it either
            bucket, _, key = folder.partition("/")
            self.read(system, bucket, key)
        return {path.removeprefix(f"{folder}/"): self._listed(info) for path, info in found.items()}

    def _listed(self, info: dict[str, Any]) -> Listed:
        return Listed(info["size"], info[self.version], info[self.stored_at])


def is_without_bucket(error: BaseException) -> bool:
    """Whether the object store said that it is the bucket that is not there, and not the object."""
    return _code(error) in _NO_BUCKET


def _read_s3(system: Any, bucket: str, key: str) -> State | None:
    async def get() -> State:
        answer = await system._call_s3("get_object", Bucket=bucket, Key=key)
        async with answer["Body"] as body:
            return State(await body.read(), answer["ETag"])

    return _unless_missing(lambda: _run(system, get))


def _write_s3(system: Any, bucket: str, key: str, content: bytes, version: str | None) -> bool:
    condition = {"IfMatch": version} if version else {"IfNoneMatch": "*"}
    try:
        system.call_s3("put_object", Bucket=bucket, Key=key, Body=content, **condition)
    except OSError as error:
        if isinstance(error, FileExistsError) or _code(error) in _LOST:
            return False
        raise
    return True


def _read_azure(system: Any, bucket: str, key: str) -> State | None:
    async def get() -> State:
        from azure.core.exceptions import ResourceNotFoundError

        async with system.service_client.get_blob_client(container=bucket, blob=key) as blob:
            try:
                stream = await blob.download_blob()
            except ResourceNotFoundError as error:
                raise FileNotFoundError(key) from error
            return State(await stream.readall(), stream.properties.etag)

    return _unless_missing(lambda: _run(system, get))


def _write_azure(system: Any, bucket: str, key: str, content: bytes, version: str | None) -> bool:
    from azure.core import MatchConditions
    from azure.core.exceptions import ResourceModifiedError

    condition = {"etag": version, "match_condition": MatchConditions.IfNotModified} if version else {"mode": "create"}
    try:
        system.pipe_file(f"{bucket}/{key}", content, **condition)
    except (FileExistsError, ResourceModifiedError):
        return False
    return True


def _read_google(system: Any, bucket: str, key: str) -> State | None:
    """A generation that is replaced between the two requests is gone when it is asked for; then there is a newer one."""
    for _ in range(_TRIES):
        generation = _generation(system, bucket, key)
        if generation is None:
            return None
        with suppress(FileNotFoundError):
            _, content = system.call("GET", system.url(f"{bucket}/{key}", generation=generation))
            return State(bytes(content), generation)
    raise ConnectionError(f"{bucket}/{key} was replaced {_TRIES} times while it was read")


def _generation(system: Any, bucket: str, key: str) -> str | None:
    try:
        return str(system.call("GET", "b/{}/o/{}", bucket, key, json_out=True)["generation"])
    except FileNotFoundError:
        system.call("GET", "b/{}/o", bucket, prefix=key, maxResults=1)  # fails if it is the bucket that is not there
        return None


def _write_google(system: Any, bucket: str, key: str, content: bytes, version: str | None) -> bool:
    condition = {"uploadType": "media", "name": key, "ifGenerationMatch": version or "0"}
    plain = {"Content-Type": "application/octet-stream"}
    try:
        system.call(
            "POST", f"{system._location}/upload/storage/v1/b/{bucket}/o", data=content, headers=plain, **condition
        )
    except FileExistsError:  # gcsfs' word for 412
        return False
    return True


def _run(system: Any, action: Callable[[], Any]) -> State:
    from fsspec.asyn import sync

    state: State = sync(system.loop, action)
    return state


def _unless_missing(action: Callable[[], State]) -> State | None:
    try:
        return action()
    except FileNotFoundError as error:
        if is_without_bucket(error):
            raise
        return None


def _code(error: BaseException) -> str:
    """The object store's own name for the failure."""
    cause = error.__cause__
    response = getattr(cause, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    return str(getattr(getattr(cause, "error_code", None), "value", getattr(cause, "error_code", "")))


PROTOCOLS = {
    "s3": Protocol("s3fs", "ETag", "LastModified", _read_s3, _write_s3),
    "gs": Protocol("gcsfs", "generation", "mtime", _read_google, _write_google),
    "az": Protocol("adlfs", "etag", "last_modified", _read_azure, _write_azure),
}
