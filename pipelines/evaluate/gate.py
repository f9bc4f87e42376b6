"""The gate: what a model must show before it may be bundled. Pure functions on measured evidence.

Every check is a paired difference on the hold-out, above 0 where this model is the better one (see `pipelines.comparisons`).
"""

from __future__ import annotations

from typing import Any

from pipelines.comparisons import COMPARED

_UNITS = ("days", "entities", "rows")


def better_than_prior(comparison: dict[str, Any]) -> dict[str, Any]:
    """It has learned something at all: with 95 % confidence better than the prior, which knows no feature."""
    passed = comparison["lower_bound"] > 0
    return {"name": "better than the prior", "passed": passed, "asks": "a lower bound above 0", **comparison}


def better_than_linear(comparison: dict[str, Any], margin: float) -> dict[str, Any]:
    """Better than the linear baseline on the hold-out, or at most `margin` worse.

    A month has too few days to ask for significance too.
    """
    passed = comparison["difference"] > -margin
    asks = f"a difference above {-margin if margin else 0:g}"
    return {"name": "better than the linear baseline", "passed": passed, "asks": asks, **comparison}


def not_worse_than_live(comparison: dict[str, Any], margin: float) -> dict[str, Any]:
    """Not worse than the live model: with 95 % confidence it loses less than `margin` (a non-inferiority test)."""
    passed = comparison["lower_bound"] > -margin
    asks = f"a lower bound above {-margin:g}"
    return {"name": "not worse than the live model", "passed": passed, "asks": asks, **comparison}


def reason(check: dict[str, Any], task: str) -> str:
    """A check in words."""
    unit = next(unit for unit in _UNITS if unit in check)
    compared = f"difference in {COMPARED[task]}" if task == "binary" else f"share of the other's {COMPARED[task]} saved"
    return (
        f"{check['name']}: {compared} {check['difference']:+.4f}, 95 % lower bound {check['lower_bound']:+.4f} "
        f"over {check[unit]} {unit}; asked was {check['asks']}"
    )
