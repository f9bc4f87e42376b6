"""`limits.json` of a bundle: what callers may cost a server. The training plane writes it, the serving plane reads it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from contract.errors import BundleError

FILE_NAME = "limits.json"


@dataclass(frozen=True)
class Limits:
    """What callers may cost.

    Attributes:
        max_rows: rows in one request, over any protocol.
        body_limit_bytes: body of an HTTP request, message of a gRPC one.
        body_timeout_s: time for a body or message to arrive, from the end of the headers; and for an answer to be taken.
        head_timeout_s: time for the head of a request to arrive, from its first byte or the connection's start.
        head_limit_bytes, head_limit_count: the headers of a request, with its first line, and how many an HTTP request may have.
        target_limit_bytes: path and query of an HTTP request.
        pending_limit_bytes: what may have come of requests that are not complete, of all over one protocol together.
        max_connections: connections open at once, over one protocol.
        latency_budget_s: time from a request's arrival to its answer; more requests than can be answered in it are refused.
        drain_s: time for what is in flight when the server is told to stop.
    """

    max_rows: int = 1000
    body_limit_bytes: int = 1024 * 1024
    body_timeout_s: float = 10.0
    head_timeout_s: float = 5.0
    head_limit_bytes: int = 16 * 1024
    head_limit_count: int = 100
    target_limit_bytes: int = 2048
    pending_limit_bytes: int = 16 * 1024 * 1024
    max_connections: int = 4096
    latency_budget_s: float = 0.5
    drain_s: float = 5.0

    @classmethod
    def from_bytes(cls, content: bytes) -> Limits:
        """The limits in a `limits.json`; a key that it lacks has its default.

        Raises:
            BundleError: an unknown key, or a value that is not a positive number.
        """
        try:
            limits = cls(**json.loads(content))
        except (TypeError, ValueError) as error:
            raise BundleError(f"{FILE_NAME} holds no limits: {error}") from error
        for name, value in vars(limits).items():
            whole = type(getattr(cls, name)) is int
            if (type(value) is not int and (whole or type(value) is not float)) or not 0 < value < math.inf:
                raise BundleError(f"{name} in {FILE_NAME} must be a positive {'whole number' if whole else 'number'}")
        return limits
