"""The controllers that the reconciler asks, in this order, what they want changed."""

from __future__ import annotations

from fleet.configuration.edit import Controller
from fleet.configuration.settings import Settings
from fleet.envoy.proxy import Proxy
from fleet.scaling.controller import Scaler


def of(settings: Settings) -> list[Controller]:
    """Return the controllers of a fleet; each keeps its own memory, and starts anew with the reconciler."""
    return [Scaler(settings.root, Proxy(settings))]
