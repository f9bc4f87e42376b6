"""The catalogue of faults: their injection, the invariant that must hold, and the drills and tests that inject them.

Invariants:

L1 batches: every collected batch is in exactly one final state, accepted or quarantined
L2 live pointer: it always resolves to a complete bundle whose signature verifies
L3 answers: no valid request fails, and every answer is the golden one of the digest that it names
L4 resume: the outputs after a crash and a resume have the digests of an uninterrupted run

A fault without a drill and a test is not injected yet.
"""

from __future__ import annotations

from drills.faults.fault import Fault
from drills.faults.pipeline import PIPELINE
from drills.faults.serving import SERVING

__all__ = ["FAULTS", "PIPELINE", "SERVING", "Fault"]

FAULTS = PIPELINE + SERVING
