"""What a disk does to any command, in whichever library it is noticed: it is full, fails, or may not be written to."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from contract.errors import BulkheadError, ConfigurationError, UnavailableError

_TRANSIENT = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def explained() -> Iterator[None]:
    """Turn such a failure into an error of ours: what is full or fails may pass, what is refused will not; all else stays what it is."""
    try:
        yield
    except BulkheadError:
        raise
    except Exception as error:
        found = _failure(error)
        if found is None:
            raise
        raise found from error


def _failure(error: BaseException) -> BulkheadError | None:
    for cause in _causes(error):
        text = " ".join(str(cause).split())
        for number in (*_TRANSIENT, *_REFUSED):
            if getattr(cause, "errno", None) == number or os.strerror(number) in text:
                place = getattr(cause, "filename2", None) or getattr(cause, "filename", None)
                where = f"{place}: {os.strerror(number)}" if place else text[:300]
                return _of(number, where.removeprefix(f"[Errno {number}] "))
    return None


def _of(number: int, reason: str) -> BulkheadError:
    if number in _TRANSIENT:
        return UnavailableError(f"the disk fails: {reason}; make room, or repair it, and try again")
    return ConfigurationError(f"the user {os.geteuid()} is not permitted this: {reason}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that libraries have wrapped into it."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
