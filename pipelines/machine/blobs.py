"""Blobs by key, in a private directory or a bucket; each is written whole, or not at all."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from contract.errors import ConfigurationError, UnavailableError
from contract.files import private_directory, write_atomically
from contract.store.place import local_path
from contract.store.providers import PROVIDERS, SCHEMES, Bucket, explained

_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}


def open_blobs(location: str) -> Directory | Objects:
    """Return the blobs of a directory, as a path or a `file://` URL, or below `s3://`, `gs://` or `az://bucket/prefix`.

    Raises:
        ConfigurationError: the location is none of these.
    """
    if (path := local_path(location)) is not None:
        return Directory(path.absolute())
    parts = urlsplit(location)
    if parts.scheme in PROVIDERS and parts.netloc:
        return Objects(location.rstrip("/"))
    raise ConfigurationError(
        f"{location!r} is unsupported: give a directory, a file:///path URL, or bucket/prefix after one of {SCHEMES}"
    )


class Directory:
    """The interface `pipelines.models.engines.checkpoints.Place` in a directory."""

    def __init__(self, root: Path) -> None:
        self.location = str(root)
        self._root = root

    def list(self) -> dict[str, datetime]:
        found = {}
        with self._explained("list"):
            for path in self._root.rglob("*"):
                with suppress(FileNotFoundError):  # another process prunes too
                    if path.is_file():
                        written_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                        found[path.relative_to(self._root).as_posix()] = written_at
        return found

    def read(self, key: str) -> bytes | None:
        with self._explained("read"), suppress(FileNotFoundError):
            return (self._root / key).read_bytes()
        return None

    def write(self, key: str, content: bytes) -> None:
        with self._explained("write"):
            private_directory(self._root)
            private_directory((self._root / key).parent)
            write_atomically(self._root / key, content)

    def delete(self, key: str) -> None:
        with self._explained("delete"):
            (self._root / key).unlink(missing_ok=True)
            with suppress(OSError):  # not empty, or gone
                (self._root / key).parent.rmdir()

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kind = ConfigurationError if error.errno in _REFUSED else UnavailableError
            raise kind(f"cannot {doing} in {self.location}: {error.strerror or error}") from error


class Objects:
    """The same in a bucket; credentials, endpoint and region come from the environment."""

    def __init__(self, location: str) -> None:
        self.location = location
        self._bucket = Bucket(location)

    def list(self) -> dict[str, datetime]:
        with explained(f"list in {self.location}"):
            return {key: found.stored_at for key, found in self._bucket.list("").items()}

    def read(self, key: str) -> bytes | None:
        with explained(f"read in {self.location}"):
            state = self._bucket.read(key)
        return None if state is None else state.content

    def write(self, key: str, content: bytes) -> None:
        with explained(f"write in {self.location}"):
            self._bucket.write(key, content)

    def delete(self, key: str) -> None:
        with explained(f"delete in {self.location}"):
            self._bucket.delete(key)
