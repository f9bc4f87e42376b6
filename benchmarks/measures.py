"""Small statistics on samples; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(sample: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0 to 1) of the sample does not exceed: the nearest rank, no interpolation.

    Raises:
        ValueError: the sample is empty, or the share is not in (0, 1].
    """
    if not sample or not 0 < share <= 1:
        raise ValueError(f"no percentile {share} of {len(sample)} values")
    ordered = sorted(sample)
    return ordered[math.ceil(share * len(ordered)) - 1]
