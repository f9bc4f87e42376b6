"""Files behind a URL that fsspec knows: copied here whole, or not at all."""

from __future__ import annotations

import errno
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contract.errors import BulkheadError, ConfigurationError, UnavailableError
from pipelines.collect import secrets

_SILENCE_S = 60  # of a server in the middle of a file
_REFUSED = {401, 403, 407}


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
        raise _failure(error, key, path) from None


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


def _failure(error: Exception, key: str, path: str) -> BulkheadError:
    causes, where = list(_causes(error)), f"{key}: {path!r}"
    reason = secrets.redact(str(error) or type(error).__name__, path)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return ConfigurationError(
            f"{where} has a certificate that is not trusted ({reason}); let SSL_CERT_FILE name the file with its authority's"
        )
    if any(_is_refusal(cause) for cause in causes):
        return ConfigurationError(f"{where} may not be read ({reason}); check the credentials in the environment")
    if _is_wrong_url(error) or any("NoSuchBucket" in str(cause) for cause in causes):
        return ConfigurationError(f"{where} cannot be opened ({reason}); correct the URL, or install what it names")
    if isinstance(error, FileNotFoundError):
        return UnavailableError(f"{where} is not there (yet)")
    return UnavailableError(f"{where} does not answer, or came cut short ({reason})")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that libraries have wrapped into it."""
    while error is not None:
        yield error
        error = getattr(error, "certificate_error", None) or error.__cause__ or error.__context__


def _is_refusal(error: BaseException) -> bool:
    if isinstance(error, PermissionError) or "Credential" in type(error).__name__:
        return True
    status = next((getattr(error, name) for name in ("status", "status_code", "code") if hasattr(error, name)), None)
    return status in _REFUSED or str(error).startswith("Forbidden")  # gcsfs says 403 in this word alone


def _is_wrong_url(error: Exception) -> bool:
    return isinstance(error, ImportError | ValueError) or getattr(error, "errno", None) == errno.EINVAL
