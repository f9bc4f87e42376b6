"""Edits: what a controller wants changed, and on what grounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from fleet.configuration.state import State


@dataclass(frozen=True)
class Edit:
    """A change that a controller asks for.

    Attributes:
        verb: `scale` sets the number of replicas within `replicas: {min, max}`, `weight` the canary's share of the requests, `promote`
            and `rollback` end the canary, `unshadow` the shadow.
        by: the controller's name, such as `judge`.
        why: the reason in one line, for `fleet history`.
        evidence: the figures behind it, as JSON.
        value: the number of replicas, or the percent.
        bundle: digest of the canary or shadow that was judged; an edit that comes after it has been replaced is dropped.
    """

    verb: Literal["scale", "weight", "promote", "rollback", "unshadow"]
    by: str
    why: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    value: int | None = None
    bundle: str | None = None


class Controller(Protocol):
    """A part of the fleet that decides something by itself, such as the judge of a canary."""

    def step(self, state: State, now: float) -> Edit | None:
        """Look, without the fleet's lock, and return the edit that is wanted now.

        It is called twice a second, also while a command runs. An edit that cannot be applied at once is dropped: return it again in the
        next step, as long as it is wanted.

        Args:
            now: seconds of `time.time()`.
        """
