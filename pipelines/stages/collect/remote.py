"""Files behind a URL that fsspec knows: copied here whole, or not at all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from contract.store.remote import failure
from pipelines.stages.collect import secrets

_SILENCE_S = 60  # longest pause of a server in the middle of a file


def download(key: str, path: str, directory: Path) -> list[str]:
    """Download the files of a URL or a glob; return the paths of the copies, in order.

    Raises:
        ConfigurationError: the URL, a credential, the bucket or the server's certificate is wrong; `key` says where it is named.
        UnavailableError: there is no such file (yet), the server does not answer, or a file was truncated.
    """
    import fsspec

    url = secrets.expand(key, path)
    if url.startswith("file://"):
        url = unquote(url)  # fsspec takes `%20` for three characters of a name, and Path.as_uri() writes it for a space
    try:
        # No cached instance: its directory listings and credentials could be stale.
        system, place = fsspec.core.url_to_fs(url, skip_instance_cache=True, **_options(url))
        names = _names(system, place)
        return [_fetch(system, name, directory / f"{number:06}{_suffix(name)}") for number, name in enumerate(names)]
    except Exception as error:  # noqa: BLE001 - every file system raises its own errors, mostly of the network
        reason = secrets.redact(str(error) or type(error).__name__, path)
        raise failure(error, f"{key}: {path!r}", reason) from None


def _names(system: Any, place: str) -> list[str]:
    if "http" in system.protocol or not re.search(r"[*?\[]", place):
        return [place]
    names = sorted(system.glob(place))
    if not names and "s3" in system.protocol:
        _check_bucket(system, place.partition("/")[0])
    return names


def _check_bucket(system: Any, bucket: str) -> None:
    """Raise ValueError for a missing bucket, in which a glob silently finds nothing."""
    try:
        system.info(bucket)
    except FileNotFoundError:
        raise ValueError(f"there is no bucket {bucket!r}") from None


def _options(url: str) -> dict[str, Any]:
    """Return fsspec's options: over HTTP no limit on a download while bytes arrive; aiohttp's default is five minutes."""
    if not url.startswith("http"):
        return {}
    from aiohttp import ClientTimeout

    return {"client_kwargs": {"timeout": ClientTimeout(total=None, sock_connect=_SILENCE_S, sock_read=_SILENCE_S)}}


def _fetch(system: Any, name: str, target: Path) -> str:
    system.get_file(name, str(target))
    return str(target)


def _suffix(name: str) -> str:
    return "".join(Path(name.split("?")[0]).suffixes[-2:])
