"""The error tree of the project.

BulkheadError
├── ConfigurationError   a file or a flag that a person wrote is wrong         exit 78
├── DataRejectedError    a batch of data failed a gate                         exit 65
├── ModelRejectedError   a model failed a gate                                 exit 65
├── BundleError          a bundle is broken, incomplete or not what it claims  exit 65
├── ConflictError        somebody else moved the shared state first            exit 75
├── UnavailableError     something outside did not answer                      exit 75
└── RequestError         a caller sent what cannot be answered                 HTTP 400
    ├── InvalidRowsError     rows that break the schema                        HTTP 422
    ├── TooLargeError        too many rows or bytes                            HTTP 413
    └── UnsupportedTypeError a content type that is not understood             HTTP 415

Exit codes are those of BSD's sysexits.h, and say whether a retry can help: 75 (EX_TEMPFAIL) can, 64, 65 and 78 cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

EXIT_USAGE = 64
EXIT_DATA = 65
EXIT_RETRY = 75
EXIT_CONFIGURATION = 78
FINAL_EXIT_CODES = frozenset({EXIT_USAGE, EXIT_DATA, EXIT_CONFIGURATION})

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one field of one row. Never carries the value itself.

    `row` counts from 0; None where the problem is not one row's.
    """

    row: int | None
    field: str | None
    problem: str

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def __str__(self) -> str:
        row = [f"row {self.row}"] if self.row is not None else []
        field = [f"field {self.field!r}"] if self.field is not None else []
        where = ", ".join(row + field)
        return f"{where}: {self.problem}" if where else self.problem


class BulkheadError(Exception):
    """An expected failure. `str()` is bounded: at most ten problems are spelled out.

    Attributes:
        problems: the structured failures, all of them.
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


class ConfigurationError(BulkheadError):
    exit_code = EXIT_CONFIGURATION


class DataRejectedError(BulkheadError):
    exit_code = EXIT_DATA


class ModelRejectedError(BulkheadError):
    exit_code = EXIT_DATA


class BundleError(BulkheadError):
    exit_code = EXIT_DATA


class ConflictError(BulkheadError):
    exit_code = EXIT_RETRY


class UnavailableError(BulkheadError):
    exit_code = EXIT_RETRY


class RequestError(BulkheadError):
    status = 400
    code = "bad_request"


class InvalidRowsError(RequestError):
    status = 422
    code = "invalid_rows"


class TooLargeError(RequestError):
    status = 413
    code = "too_large"


class UnsupportedTypeError(RequestError):
    status = 415
    code = "unsupported_media_type"
