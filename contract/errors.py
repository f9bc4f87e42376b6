"""The error tree of the project.

BulkheadError
├── UsageError           the arguments of a command are wrong                  exit 64
├── ConfigurationError   a file, a setting or a permission is wrong            exit 78
├── DataRejectedError    a batch of data failed a gate                         exit 65
├── ModelRejectedError   a model failed a gate                                 exit 65
├── BundleError          a bundle is corrupt, incomplete or fails verification exit 65
├── ConflictError        another process changed the shared state first        exit 75
├── UnavailableError     a disk, a server or another resource failed           exit 75
└── RequestError         a request is invalid                                  HTTP 400
    ├── InvalidRowsError     rows violate the schema                           HTTP 422
    ├── TooLargeError        too many rows or bytes                            HTTP 413
    └── UnsupportedTypeError the content type is unsupported                   HTTP 415

Exit codes are those of BSD's sysexits.h, which `os` has by name. A retry can help after 75 (EX_TEMPFAIL), not after 64, 65 and 78.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

EXIT_USAGE = os.EX_USAGE
EXIT_DATA = os.EX_DATAERR
EXIT_RETRY = os.EX_TEMPFAIL
EXIT_CONFIGURATION = os.EX_CONFIG
# What Airflow must not retry: the same input fails again.
FINAL_EXIT_CODES = frozenset({EXIT_USAGE, EXIT_DATA, EXIT_CONFIGURATION})

# A request of a thousand bad rows has thousands of problems; a message is for a person, or a log.
_SHOWN = 10


class Problem(NamedTuple):
    """One problem with one field of one row; it never contains the value itself.

    `row` counts from 0; None if the problem is not one row's.
    """

    row: int | None
    field: str | None
    problem: str

    def as_dict(self) -> dict[str, object]:
        """Return the problem as the `details` of an answer have it."""
        return self._asdict()

    def __str__(self) -> str:
        row = [f"row {self.row}"] if self.row is not None else []
        field = [f"field {self.field!r}"] if self.field is not None else []
        where = ", ".join(row + field)
        return f"{where}: {self.problem}" if where else self.problem


class BulkheadError(Exception):
    """An expected failure; `str()` is bounded and spells out at most ten problems.

    Attributes:
        problems: all structured failures.
    """

    exit_code = 1

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.problems = tuple(problems)

    def __str__(self) -> str:
        lines = [self.message, *(f"  - {problem}" for problem in self.problems[:_SHOWN])]
        if len(self.problems) > _SHOWN:
            lines.append(f"  … and {len(self.problems) - _SHOWN} more")
        return "\n".join(lines)


class UsageError(BulkheadError):
    """Arguments of a command that are wrong by themselves, whatever the machine holds; a parser refuses most of them."""

    exit_code = EXIT_USAGE


class ConfigurationError(BulkheadError):
    """A wrong file, setting or permission, for a person to correct."""

    exit_code = EXIT_CONFIGURATION


class DataRejectedError(BulkheadError):
    """A batch of data that failed a gate."""

    exit_code = EXIT_DATA


class ModelRejectedError(BulkheadError):
    """A model that failed a gate."""

    exit_code = EXIT_DATA


class BundleError(BulkheadError):
    """A bundle that is corrupt, incomplete or fails verification."""

    exit_code = EXIT_DATA


class ConflictError(BulkheadError):
    """A lost race for shared state; read it again and retry."""

    exit_code = EXIT_RETRY


class UnavailableError(BulkheadError):
    """A failure of a disk, a server or another resource that may pass."""

    exit_code = EXIT_RETRY


class RequestError(BulkheadError):
    """An invalid request; `status` is its HTTP status."""

    status = 400
    code = "bad_request"


class InvalidRowsError(RequestError):
    """Rows that violate the schema."""

    status = 422
    code = "invalid_rows"


class TooLargeError(RequestError):
    """Too many rows or bytes in a request."""

    status = 413
    code = "too_large"


class UnsupportedTypeError(RequestError):
    """An unsupported content type."""

    status = 415
    code = "unsupported_media_type"
