"""Prices, and what the live bundle's training cost: both as `publish` wrote them beside the bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contract.errors import ConfigurationError
from fleet.monitoring.costs.ledger import Use

VARIABLE = "BULKHEAD_PRICES"
# What the server from which this project grew costs for a prediction, in USD: the figure to stay below.
SEED_PER_PREDICTION = 0.00008
_HOUR_S = 3600.0


@dataclass(frozen=True)
class Prices:
    """Prices of one CPU and of 1 GB of memory for an hour, in a currency; the defaults are those of `costs` in `params.yaml`."""

    cpu_hour: float = 0.04
    gb_hour: float = 0.005
    currency: str = "USD"

    def of(self, use: Use) -> dict[str, float]:
        """Return the money of a use: in all, while idle, and with one CPU reserved for each replica's whole life."""
        memory = use.gb_s / _HOUR_S * self.gb_hour
        cpu = use.total_cpu_s / _HOUR_S * self.cpu_hour
        idle = use.idle_cpu_s / _HOUR_S * self.cpu_hour + use.idle_gb_s / _HOUR_S * self.gb_hour
        return {"money": cpu + memory, "idle": idle, "reserved": use.replica_s / _HOUR_S * self.cpu_hour + memory}


@dataclass(frozen=True)
class Training:
    """What the live bundle's training cost: its money and CPU seconds; None: not known here."""

    money: float | None = None
    cpu_s: float | None = None


def read(environment: Mapping[str, str], var: Path, digest: str | None) -> tuple[Prices, Training]:
    """Return the prices and the training's cost of a bundle, from `costs/bundles/<digest>.json` in `var`.

    `BULKHEAD_PRICES` goes before the prices there, and without either the defaults count.

    Raises:
        ConfigurationError: `BULKHEAD_PRICES` is not a table of prices.
    """
    found = _published(var, digest)
    prices = found.get("prices")
    given = environment.get(VARIABLE)
    table = _given(given) if given else Prices(**prices) if isinstance(prices, dict) else Prices()
    total = found.get("total", {})
    return table, Training(total.get("money"), total.get("cpu_s"))


def _published(var: Path, digest: str | None) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((var / "costs/bundles" / f"{digest}.json").read_bytes())
    except (OSError, ValueError):
        return {}  # published elsewhere, or never by this project: then its training's cost is unknown
    return found


def _given(text: str) -> Prices:
    pairs = dict(pair.partition("=")[::2] for pair in text.split())
    unknown = set(pairs) - set(asdict(Prices()))
    try:
        numbers = {name: float(value) for name, value in pairs.items() if name != "currency"}
        if unknown or not all(0 <= number < float("inf") for number in numbers.values()):
            raise ValueError(text)
    except ValueError:
        raise ConfigurationError(
            f'{VARIABLE} is {text!r}; it must be prices such as "cpu_hour=0.04 gb_hour=0.005 currency=USD"'
        ) from None
    return Prices(**numbers, currency=pairs.get("currency", Prices.currency))
