"""Files behind a URL that fsspec knows: copied here whole, or not at all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from contract.store.remote import failure
from pipelines.stages.collect import secrets

_SILENCE_S = 60  # of a server in the middle of a file


def download(key: str, path: str, directory: Path) -> list[str]:
    """Copies of the files that a URL or a glob means, in their order.

    Raises:
        ConfigurationError: the URL, a credential, the bucket or the server's certificate is wrong; `key` says where it is named.
        UnavailableError: there is no such file (yet), the server does not answer, or a file came cut short.
    """
    import fsspec

    url = secrets.expand(key, path)
    try:
        # A system of our own: its list of files is new, and the environment is read now.
        system, place = fsspec.core.url_to_fs(url, skip_instance_cache=True, **_options(url))
        names = _names(system, place)
        return [_fetch(system, name, directory / f"{number:06}{_suffix(name)}") for number, name in enumerate(names)]
    except Exception as error:  # noqa: BLE001 - every file system raises errors of its own, most of them of the network
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
    """A glob finds nothing in a bucket that is not there, and does not say so."""
    try:
        system.info(bucket)
    except FileNotFoundError:
        raise ValueError(f"there is no bucket {bucket!r}") from None


def _options(url: str) -> dict[str, Any]:
    """However long a file takes, as long as bytes come; without this a download is given up after five minutes."""
    if not url.startswith("http"):
        return {}
    from aiohttp import ClientTimeout

    return {"client_kwargs": {"timeout": ClientTimeout(total=None, sock_connect=_SILENCE_S, sock_read=_SILENCE_S)}}


def _fetch(system: Any, name: str, target: Path) -> str:
    system.get_file(name, str(target))
    return str(target)


def _suffix(name: str) -> str:
    return "".join(Path(name.split("?")[0]).suffixes[-2:])
