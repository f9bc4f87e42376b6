"""An entry of the catalogue of faults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        number: its key in results of drills.
        injected: the injection, in words.
        invariant: the condition that must hold.
        drills: names of `python -m drills`.
        tests: `FILE::FUNCTION`, below `tests/`.
    """

    number: int
    injected: str
    invariant: str
    drills: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
