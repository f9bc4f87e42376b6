"""Object stores through obstore: S3, Google Cloud Storage and Azure behind the few calls of a bundle store.

A version identifies one content of an object: an ETag of S3 and Azure, a generation of Google.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from contract.errors import BulkheadError, BundleError, ConfigurationError
from contract.store.place import State
from contract.store.remote import failure

_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
_ANSWER = re.compile(r"<Code>(.*?)</Code>.*?<Message>(.*?)</Message>", re.DOTALL)
_CLIENT = {"allow_http": True, "connect_timeout": "5s", "read_timeout": "60s", "timeout": "10m"}
_RETRIES = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5), "base": 2},
}
_TRIES = 3
_CREDENTIAL_AGE = timedelta(minutes=10)


@dataclass(frozen=True)
class Listed:
    """One object of a listing; `stored_at` is the time of its last write, by the object store's clock."""

    size_bytes: int
    version: str
    stored_at: datetime


@dataclass(frozen=True)
class Provider:
    """One kind of object store.

    Attributes:
        version: obstore's name for the version that a conditional write compares.
        settings: returns the arguments that obstore does not take from the environment itself.
    """

    version: str
    settings: Callable[[], dict[str, Any]] = dict


class Bucket:
    """Objects below `PROTOCOL://bucket/prefix`, by relative key; credentials, endpoint and region come from the environment."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._provider = PROVIDERS[location.partition(":")[0]]

    @cached_property
    def _objects(self) -> Any:
        try:
            from obstore.store import from_url
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"store {self._location!r} needs the package obstore, which the environment {sys.prefix} lacks ({error}); "
                "add it to that environment's file in requirements/, then `make lock`"
            ) from error
        return from_url(self._location, client_options=_CLIENT, retry_config=_RETRIES, **self._provider.settings())

    def list(self, folder: str) -> dict[str, Listed]:
        """Return every object below a folder, by the rest of its key. Raises if the bucket does not exist."""
        from obstore.exceptions import InvalidPathError

        try:
            found = self._objects.list(folder).collect()
        except InvalidPathError as error:
            raise BundleError(
                f"{self._location} contains an object that belongs to no bundle; delete it: {error}"
            ) from error
        return {
            info["path"].removeprefix(f"{folder}/"): Listed(info["size"], info["e_tag"], info["last_modified"])
            for info in found
        }

    def read(self, key: str) -> State | None:
        """Return an object with its version, or None if it does not exist. Raises if the bucket does not exist."""
        try:
            answer = self._objects.get(key)
            return State(bytes(answer.bytes()), str(answer.meta[self._provider.version]))
        except FileNotFoundError as error:
            if any(name in str(error) for name in _NO_BUCKET):
                raise
            return None

    def download(self, key: str, target: Path) -> None:
        """Write an object to a new file, a chunk at a time."""
        with target.open("wb") as stream:
            for chunk in self._objects.get(key):
                stream.write(chunk)

    def write(self, key: str, content: bytes | Path) -> None:
        """Write an object unconditionally, from bytes or from a file."""
        self._objects.put(key, content)

    def swap(self, key: str, content: bytes, version: str | None) -> bool:
        """Write an object if it still has that version (None: does not exist); return whether it was written.

        False may also mean that this write succeeded and its response was lost: the caller recognizes its own content.
        """
        from obstore.exceptions import AlreadyExistsError, GenericError, PreconditionError

        mode = {self._provider.version: version} if version else "create"
        for tries_left in reversed(range(_TRIES)):
            try:
                self._objects.put(key, content, mode=mode)
                return True
            except (AlreadyExistsError, PreconditionError):
                return False
            except GenericError as error:  # obstore does not retry a conditional write that may have arrived
                if not tries_left or "HTTP error" not in str(error) or "retries, max_retries" in str(error):
                    raise
        raise AssertionError("the last try returns or raises")

    def delete(self, key: str) -> None:
        """Delete an object, if it still exists."""
        with suppress(FileNotFoundError):  # S3 deletes a missing object without an error
            self._objects.delete(key)


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn the failure of an object store into the project's error: "cannot `doing`", which says where."""
    try:
        yield
    except BulkheadError:
        raise
    except Exception as error:
        raise failure(error, f"cannot {doing}", _reason(error), "used") from error


def _reason(error: Exception) -> str:
    """Return the object store's message, or else obstore's, in one line."""
    text = str(error).partition("\n\nDebug source:")[0] or type(error).__name__
    if answer := _ANSWER.search(text):
        text = ": ".join(answer.groups())
    return " ".join(text.split())[:300]


def _amazon() -> dict[str, Any]:
    """Let botocore, if installed, find credentials outside the environment: a profile's, or of single sign-on."""
    config: dict[str, Any] = {"disable_bulk_delete": True}
    try:
        from botocore.session import get_session
    except ModuleNotFoundError:
        return {"config": config}
    session = get_session()
    if "AWS_ACCESS_KEY_ID" in os.environ or not (credentials := session.get_credentials()):
        return {"config": config}
    if region := session.get_config_variable("region"):
        config["region"] = region

    def current() -> dict[str, Any]:
        keys = credentials.get_frozen_credentials()
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            "expires_at": datetime.now(UTC) + _CREDENTIAL_AGE,
        }

    return {"config": config, "credential_provider": current}


def _azure() -> dict[str, Any]:
    """Read the connection string, which obstore does not know."""
    text = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    if "EndpointSuffix" in parts and "AccountName" in parts:
        parts.setdefault("BlobEndpoint", f"https://{parts['AccountName']}.blob.{parts['EndpointSuffix']}")
    names = {"AccountName": "account_name", "AccountKey": "account_key"}
    names |= {"SharedAccessSignature": "sas_token", "BlobEndpoint": "endpoint"}
    return {"config": {name: parts[part] for part, name in names.items() if part in parts}}


# By the URL's scheme.
PROVIDERS = {
    "s3": Provider("e_tag", _amazon),
    "gs": Provider("version"),
    "az": Provider("e_tag", _azure),
}
SCHEMES = ", ".join(f"{name}://" for name in PROVIDERS)
