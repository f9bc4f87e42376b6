"""The range of a number: by the column's name, or else rounded and wider than the observed one."""

from __future__ import annotations

import math
from typing import Any

from pipelines.columns.identifiers import words

# By a word of the name; the last one that matches decides.
_DOMAINS = {
    "age": (0, 120), "latitude": (-90, 90), "lat": (-90, 90), "longitude": (-180, 180), "lon": (-180, 180), "lng": (-180, 180),
    "percent": (0, 100), "percentage": (0, 100), "pct": (0, 100), "year": (1900, 2100), "month": (1, 12), "hour": (0, 24),
}  # fmt: skip
_MARGIN = 0.5  # of the observed range, on either side
_LARGEST, _SMALLEST = 1e38, 1e-37  # a little inside float32, which the model reads


def domain_of(name: str, low: float, high: float) -> tuple[float, float] | None:
    """Return the range implied by the column's name, if it includes all observed values."""
    for word in reversed(words(name)):
        if word in _DOMAINS and _DOMAINS[word][0] <= low and high <= _DOMAINS[word][1]:
            return _DOMAINS[word]
    return None


def widened(low: float, high: float) -> tuple[float, float]:
    """Return a range half as wide again on either side, rounded outwards to 1, 2 or 5 times a power of ten.

    It does not cross zero. The observed values are a sample: the next request may lie a little outside, but should not have another sign
    or magnitude.
    """
    low, high = (min(max(bound, -_LARGEST), _LARGEST) for bound in (low, high))
    margin = max(_MARGIN * ((high - low) or abs(high) or 1.0), _SMALLEST)
    step = _round_step(margin / 2)
    lower, upper = math.floor((low - margin) / step) * step, math.ceil((high + margin) / step) * step
    return _plain(max(lower, 0.0) if low >= 0 else lower), _plain(min(upper, 0.0) if high <= 0 else upper)


def _round_step(about: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten that is at most this number."""
    power = 10.0 ** math.floor(math.log10(about))
    return next(factor * power for factor in (5, 2, 1) if factor * power <= about * (1 + 1e-9))


def _plain(value: float) -> float:
    """Return the number with 12 significant digits, without the residue of binary fractions."""
    return float(f"{value:.12g}")


def describe(name: str, low: float, high: float) -> tuple[dict[str, Any], str]:
    """Return `minimum` and `maximum` for params.yaml, and the observed range in words."""
    domain = domain_of(name, low, high)
    minimum, maximum = domain or widened(low, high)
    seen = f"seen: {low:.12g} to {high:.12g}"
    return {"minimum": minimum, "maximum": maximum}, f"{seen}; the bounds follow from its name" if domain else seen
