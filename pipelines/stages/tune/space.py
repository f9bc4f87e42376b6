"""The values that a search may choose, for Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.params.train import FamilyParams
from pipelines.params.tune import Range

_DIGITS = 4

Parameters = dict[str, Any]


def distributions(space: Mapping[str, Range], settings: FamilyParams) -> dict[str, Any]:
    """Return the distribution of each setting: whole numbers where the setting is one; by name, for a sampler draws in this order."""
    from optuna.distributions import FloatDistribution, IntDistribution

    return {
        name: IntDistribution(int(found.low), int(found.high), log=found.log)
        if type(settings).model_fields[name].annotation is int
        else FloatDistribution(found.low, found.high, log=found.log)
        for name, found in sorted(space.items())
    }


def rounded(parameters: Parameters, space: Mapping[str, Range]) -> Parameters:
    """Return the parameters with four significant digits: the last ones that TPE gives depend on the processor."""
    return {
        name: min(max(float(f"{value:.{_DIGITS}g}"), space[name].low), space[name].high)
        if isinstance(value, float)
        else value
        for name, value in parameters.items()
    }
