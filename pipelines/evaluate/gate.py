"""The gate: what a model must show before it may be bundled. Pure functions on measured evidence.

Every check is a paired difference in ROC-AUC on the hold-out (see `metrics.auc_difference`).
"""

from __future__ import annotations

from typing import Any


def better_than_prior(comparison: dict[str, Any]) -> dict[str, Any]:
    """It has learned something at all: with 95 % confidence better than the prior, whose ROC-AUC is one half."""
    passed = comparison["lower_bound"] > 0
    return {"name": "better than the prior", "passed": passed, "asks": "a lower bound above 0", **comparison}


def better_than_linear(comparison: dict[str, Any]) -> dict[str, Any]:
    """Better than the linear baseline on the hold-out. A month has too few days to ask for significance too."""
    passed = comparison["difference"] > 0
    return {"name": "better than the linear baseline", "passed": passed, "asks": "a difference above 0", **comparison}


def not_worse_than_live(comparison: dict[str, Any], margin: float) -> dict[str, Any]:
    """Not worse than the live model: with 95 % confidence it loses less than `margin` (a non-inferiority test)."""
    passed = comparison["lower_bound"] > -margin
    asks = f"a lower bound above {-margin:g}"
    return {"name": "not worse than the live model", "passed": passed, "asks": asks, **comparison}


def reason(check: dict[str, Any]) -> str:
    """A check in words."""
    return (
        f"{check['name']}: difference in ROC-AUC {check['difference']:+.4f}, 95 % lower bound {check['lower_bound']:+.4f} "
        f"over {check['days']} days; asked was {check['asks']}"
    )
