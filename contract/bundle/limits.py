"""The serving limits in `limits.json`, written by the training plane and read by servers."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TypeVar

from contract.errors import BundleError

FILE_NAME = "limits.json"
_HOUR_S = 3600  # a longer timeout would limit nothing
_Number = TypeVar("_Number", int, float)


def limit(default: _Number, description: str, **bounds: float) -> _Number:
    """Return the field of a limit; `description` and `bounds` (gt, ge, lt) are those of its key in `params.yaml`."""
    made: _Number = field(default=default, metadata={"description": description, **bounds})
    return made


@dataclass(frozen=True)
class Limits:
    """The limits of requests, connections and times; `pipelines.params.serving` derives the keys of `serving` from them."""

    max_rows: int = limit(1000, "Rows in one request.", ge=1)
    body_limit_bytes: int = limit(1024 * 1024, "Bytes in the body of an HTTP request, or in a gRPC message.", ge=1024)
    body_timeout_s: float = limit(
        10.0, "Seconds for a body or message to arrive, and for a caller to take its response.", gt=0, lt=_HOUR_S
    )
    head_timeout_s: float = limit(
        5.0,
        "Seconds for the headers to arrive, from their first byte or the start of the connection.",
        gt=0,
        lt=_HOUR_S,
    )
    head_limit_bytes: int = limit(16 * 1024, "Bytes in the headers of a request, its first line included.", ge=1024)
    head_limit_count: int = limit(100, "Headers of an HTTP request.", ge=16)
    target_limit_bytes: int = limit(2048, "Bytes in path and query of an HTTP request.", ge=256)
    pending_limit_bytes: int = limit(
        16 * 1024 * 1024,
        "Bytes of all incomplete requests of one protocol together; over gRPC also of responses that were not taken yet.",
        ge=1024,
    )
    max_connections: int = limit(
        4096, "Open connections of one protocol; fewer where the system allows fewer file descriptors.", ge=1
    )
    latency_budget_s: float = limit(
        0.5,
        "Seconds from the arrival of a request to its response. What cannot be answered within it is refused.",
        ge=0.01,
        lt=_HOUR_S,
    )
    drain_s: float = limit(5.0, "Seconds for requests in flight when the server stops.", gt=0, lt=_HOUR_S)

    @classmethod
    def from_bytes(cls, content: bytes) -> Limits:
        """Return the limits in a `limits.json`; missing keys have their defaults.

        Raises:
            BundleError: an unknown key, or a value that is not a positive number.
        """
        try:
            limits = cls(**json.loads(content))
        except (TypeError, ValueError) as error:
            raise BundleError(f"{FILE_NAME} is not a valid file of limits: {error}") from error
        for name, value in vars(limits).items():
            whole = type(getattr(cls, name)) is int
            # By exact type: a bool is an int to isinstance. The comparison refuses NaN too.
            if (type(value) is not int and (whole or type(value) is not float)) or not 0 < value < math.inf:
                raise BundleError(f"{name} in {FILE_NAME} must be a positive {'whole number' if whole else 'number'}")
        return limits
