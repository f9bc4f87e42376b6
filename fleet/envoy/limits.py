"""What Envoy lets through: no less than the bundles behind it allow, by their `limits.json`."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

from contract.bundle import limits, manifest
from contract.bundle.limits import Limits
from contract.errors import BundleError

MOST = 2**32 - 1  # of Envoy's whole numbers
_DEFAULT = Limits()
SLOWEST = 20.0  # times the default: a budget of hours, which turns refusals off, must not hold a deployment for as long


def of_bundles(bundles: Iterable[Path]) -> Limits:
    """Return the largest of each limit among bundles, and no less than its default, with which Envoy's own settings are tried."""
    found = [_DEFAULT]
    for bundle in bundles:
        with suppress(OSError, BundleError):  # damaged on the disk: its replicas refuse to start, and say so
            found.append(Limits.from_bytes((bundle / manifest.ARTIFACT / limits.FILE_NAME).read_bytes()))
    return Limits(**{each.name: max(getattr(one, each.name) for one in found) for each in fields(Limits)})


def slowness(allowed: Limits) -> float:
    """Return how many times as long as by default an answer may take, twenty at most."""
    return min(allowed.latency_budget_s / _DEFAULT.latency_budget_s, SLOWEST)


def buffered_bytes(allowed: Limits) -> int:
    """Return the bytes of a body that Envoy keeps, to be able to send it again: more than servers take, whose refusals say more."""
    return min(2 * allowed.body_limit_bytes, MOST)
