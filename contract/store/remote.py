"""Failures of remote file systems, sorted into those to correct and those to retry."""

from __future__ import annotations

import errno
import re
import ssl
from collections.abc import Iterator

from contract.errors import BulkheadError, ConfigurationError, UnavailableError

_REFUSED = {401, 403, 407}
# A retry gets the same status. Not among them: 404 (not there yet), 408, 409, 412, 423, 425 and 429, which can change by themselves.
_PERMANENT = {400, 402, 405, 406, 410, 411, 413, 414, 415, 417, 421, 422, 426, 428, 431, 451}
# gcsfs names only the URL of the listing; obstore does not look up a bucket's region.
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|\bb/[^/]+/o$|incorrectly configured region")
# obstore's errors have no attributes; their text has the status.
_OVER_HTTP = re.compile(r"Error performing|HTTP error")
_ANSWERED = re.compile(r"status code: (\d{3})")
# gcsfs reports 403 as the word Forbidden; the URLs are those that obstore asks for the machine's role when it finds no credentials.
_REFUSED_IN_WORDS = re.compile(r"^Forbidden|Invalid Access Key|http://(169\.254\.|metadata\.)")


def failure(error: Exception, where: str, reason: str, done: str = "read") -> BulkheadError:
    """Return the project's error for a library's.

    Args:
        where: the resource, in words.
        reason: the library's message in one line, without secrets.
        done: the past participle of what failed: `read`, `written`, …
    """
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) or "InvalidCertificate(" in str(cause) for cause in causes):
        return ConfigurationError(
            f"{where}: the server's certificate is not trusted ({reason}); set SSL_CERT_FILE to a file with its authority's"
        )
    if any(_is_refusal(cause) for cause in causes):
        return ConfigurationError(
            f"{where}: access denied, it cannot be {done} ({reason}); check the credentials in the environment"
        )
    if (
        _is_wrong_url(error)
        or any(_status(cause) in _PERMANENT for cause in causes)
        or any(_NO_BUCKET.search(str(cause)) for cause in causes)
    ):
        return ConfigurationError(f"{where} cannot be opened ({reason}); correct the URL, or install what it names")
    if isinstance(error, FileNotFoundError):
        return UnavailableError(f"{where} does not exist (yet)")
    return UnavailableError(f"{where}: the server did not answer, or the transfer broke off ({reason}); try again")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and its causes."""
    while error is not None:
        yield error
        error = getattr(error, "certificate_error", None) or error.__cause__ or error.__context__


def _is_refusal(error: BaseException) -> bool:
    names = " ".join(kind.__name__ for kind in type(error).__mro__)
    if isinstance(error, PermissionError) or "Credential" in names or "Authentication" in names:
        return True
    return _status(error) in _REFUSED or bool(_REFUSED_IN_WORDS.search(str(error)))


def _status(error: BaseException) -> object:
    """Return the HTTP status of a response, or None if there was none."""
    # aiohttp's parser errors carry the status that a server would send, always 400: nobody sent it.
    if any(kind.__name__ == "HttpProcessingError" for kind in type(error).__mro__):
        return None
    if answered := _ANSWERED.search(str(error)):
        return int(answered[1])
    return next((getattr(error, name) for name in ("status", "status_code", "code") if hasattr(error, name)), None)


def _is_wrong_url(error: Exception) -> bool:
    is_of_obstore = type(error).__module__.startswith("obstore")
    return (
        isinstance(error, ImportError | ValueError)
        or getattr(error, "errno", None) == errno.EINVAL
        or (is_of_obstore and not _OVER_HTTP.search(str(error)))  # no request was sent
    )
