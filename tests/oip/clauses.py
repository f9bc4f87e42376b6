"""What a check is: a clause of a specification, and a function that asks a server whether it keeps to it.

Specifications, and how checks name them:

    REST        https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
    gRPC        inference_grpc.md beside it
    binary      https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
    health      https://github.com/grpc/grpc/blob/master/doc/health-checking.md
    reflection  https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
    statuses    RFC 9110, and https://github.com/grpc/grpc/blob/master/doc/statuscodes.md: whose fault an error is
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tests.oip.server import Server

Verdict = Literal["PASS", "FAIL", "NOT OFFERED"]
Ask = Callable[["Server"], None]


class FailedError(Exception):
    """The server does not keep to the clause; with what it did."""


class NotOfferedError(Exception):
    """The clause is optional, and the server does without it."""


@dataclass(frozen=True)
class Check:
    """One clause.

    Attributes:
        specification: as the module's docstring names them.
        clause: the section of that specification.
        says: what it asks for.
        needs: the protocols that the check speaks, `http` and `grpc`.
    """

    specification: str
    clause: str
    says: str
    needs: tuple[str, ...]
    ask: Ask


@dataclass(frozen=True)
class Result:
    check: Check
    verdict: Verdict
    detail: str = ""


CHECKS: list[Check] = []


def clause(specification: str, section: str, says: str, *, needs: Sequence[str]) -> Callable[[Ask], Ask]:
    """Enter the decorated function into `CHECKS`; they run in the order in which they are written."""

    def enter(ask: Ask) -> Ask:
        CHECKS.append(Check(specification, section, says, tuple(needs), ask))
        return ask

    return enter


def judge(check: Check, server: Server) -> Result:
    """The verdict on one clause. An exception that is no verdict is a failure too: an answer had another form than it should."""
    if missing := [protocol for protocol in check.needs if not server.speaks(protocol)]:
        return Result(check, "NOT OFFERED", f"no address for {missing[0]} was given")
    try:
        check.ask(server)
    except NotOfferedError as reason:
        return Result(check, "NOT OFFERED", str(reason))
    except Exception as error:  # noqa: BLE001  # whatever it is, the other clauses are asked, too
        text = str(error) if isinstance(error, FailedError) else f"{type(error).__name__}: {error}"
        return Result(check, "FAIL", " ".join(text.split())[:400])
    return Result(check, "PASS")


def expect(condition: object, otherwise: str) -> None:
    if not condition:
        raise FailedError(otherwise)
