"""The controllers that the reconciler asks, in this order, what they want changed."""

from __future__ import annotations

from fleet.canary.controller import Judging
from fleet.configuration.edit import Controller
from fleet.configuration.settings import Settings
from fleet.envoy.proxy import Proxy
from fleet.scaling.controller import Scaler


def of(settings: Settings) -> list[Controller]:
    """Return the controllers of a fleet; each keeps its own memory, and starts anew with the reconciler."""
    # The judge first: a rollback does not wait for another size.
    return [Judging(settings), Scaler(settings.root, Proxy(settings))]
