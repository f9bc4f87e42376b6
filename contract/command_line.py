"""The end of a command: an expected failure is explained in words, and gives the exit code of its error."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from contract.errors import BulkheadError, ConfigurationError, UnavailableError

_TRANSIENT = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)


def run(command: Callable[[], int], *, stopped: str, as_json: bool = False, in_one_line: bool = False) -> int:
    """Run a command and return its exit code.

    Args:
        stopped: what stderr says before the message of an error, such as `fleet up stopped`.
        as_json: print the error on stdout too, for programs.
    """
    try:
        with _disks_explained():
            return command()
    except BulkheadError as error:
        if as_json:
            print(json.dumps({"error": {"code": error.exit_code, "message": str(error)}}))
        message = " ".join(str(error).split()) if in_one_line else str(error)
        print(f"{stopped}: {message}", file=sys.stderr)
        return error.exit_code


@contextmanager
def _disks_explained() -> Iterator[None]:
    """Turn a disk that is full, fails or is read-only, in whichever library that is noticed, into an error of ours.

    What is full or fails may pass, what is refused will not; every other failure stays as it is.
    """
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
