"""A table with columns that are known later, over which histories are taken."""

from __future__ import annotations

from typing import Any

import pytest

MEAN = {"transform": "history", "statistic": "mean", "value": "lateness", "known_at": "delivered", "window": "2h"}
Raw = dict[str, Any]
Row = dict[str, Any]


@pytest.fixture
def raw(raw: Raw) -> Raw:
    raw["data"]["columns"] |= {
        "delivered": {"kind": "timestamp", "known": "later"},
        "lateness": {"kind": "number", "known": "later", "unit": "min", "minimum": -1000, "maximum": 1000},
    }
    return raw
