"""The costs of a fleet, by day and in all, beside its bundle's training: as plain values, and as text."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

from fleet.monitoring.costs.ledger import Use
from fleet.monitoring.costs.prices import SEED_PER_PREDICTION, Prices, Training

_MILLION = 1e6
_SHOWN = 14


def of(days: Mapping[str, Use], prices: Prices, training: Training) -> dict[str, Any]:
    """Return the costs for JSON; what is not known is None."""
    total = reduce(Use.__add__, days.values(), Use())
    in_all = figures(total, prices)
    per_prediction = in_all["money"] / total.predictions if total.predictions else None
    equal = training.money / per_prediction if training.money is not None and per_prediction else None
    return {
        "prices": {"cpu_hour": prices.cpu_hour, "gb_hour": prices.gb_hour, "currency": prices.currency},
        "days": {day: figures(use, prices) for day, use in days.items()},
        "total": in_all,
        "training": {"money": training.money, "cpu_s": training.cpu_s, "predictions_of_equal_cost": equal},
        "seed": {"per_million": SEED_PER_PREDICTION * _MILLION, "currency": "USD"},
    }


def figures(use: Use, prices: Prices) -> dict[str, Any]:
    """Return a use with its money; money per million predictions is None without a prediction."""
    money = prices.of(use)
    per_million = {
        f"{name}_per_million": amount / use.predictions * _MILLION if use.predictions else None
        for name, amount in money.items()
    }
    return {
        "seconds": use.seconds,
        "replica_s": use.replica_s,
        "cpu_s": {**use.cpu_s, "total": use.total_cpu_s},
        "gb_hours": use.gb_s / 3600,
        "predictions": use.predictions,
        "idle_s": use.idle_s,
        **money,
        **per_million,
    }


def text(costs: Mapping[str, Any]) -> str:
    """Return the costs as a table by day, the sum below it, and the training and the seed beside it."""
    currency = costs["prices"]["currency"]
    shown = list(costs["days"].items())[-_SHOWN:]
    if not shown:
        return "nothing is recorded yet: the ledger begins with the fleet"
    head = (
        "day (UTC)",
        "predictions",
        "replica h",
        "CPU s",
        "GB h",
        currency,
        "idle",
        "per million",
        "reserved, per million",
    )
    rows = [head, *(_row(day, each) for day, each in shown), _row("in all", costs["total"])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = [
        "  ".join(
            cell.ljust(width) if not index else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([*table, "", *_beside(costs)])


def _row(name: str, each: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        name,
        f"{each['predictions']:,}",
        f"{each['replica_s'] / 3600:,.2f}",
        f"{each['cpu_s']['total']:,.1f}",
        f"{each['gb_hours']:,.3f}",
        f"{each['money']:.6f}",
        f"{each['idle']:.6f}",
        *(amount(each[name]) for name in ("money_per_million", "reserved_per_million")),
    )


def _beside(costs: Mapping[str, Any]) -> list[str]:
    currency, training = costs["prices"]["currency"], costs["training"]
    now, seed = costs["total"]["money_per_million"], costs["seed"]["per_million"]
    lines = [f"a million predictions  {amount(now)} {currency}, idle time included; the seed: {amount(seed)} USD"]
    if now and currency == "USD":
        lines[0] += f", {seed / now:,.0f} times that"
    if training["money"] is None:
        return [*lines, "training               unknown: the live bundle was not published with this BULKHEAD_VAR"]
    equal = training["predictions_of_equal_cost"]
    cost = f"training               {training['money']:.6f} {currency}, {training['cpu_s']:,.1f} CPU s"
    return [*lines, cost + (f": as much as {equal:,.0f} predictions" if equal else "")]


def amount(money: float | None) -> str:
    """Return an amount with three significant digits; – for None."""
    if money is None:
        return "–"
    return f"{money:,.0f}" if money >= 100 else f"{money:.3g}"
