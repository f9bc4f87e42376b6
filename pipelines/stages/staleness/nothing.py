"""The content of `reports/staleness.json` where nothing could be measured."""

from __future__ import annotations

from typing import Any


def without(because: str, **more: Any) -> dict[str, Any]:
    """Return the content without a sentence, and why there is none."""
    return {"sentence": None, "because": because, "curve": [], "ages": [], "left_out": []} | more
