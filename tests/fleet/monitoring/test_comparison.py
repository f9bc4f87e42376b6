"""What is counted where a shadow answers otherwise than the live bundle."""

from __future__ import annotations

import math
import struct

from contract.prediction_log.frames import Answered, Header
from fleet.monitoring import comparison
from fleet.monitoring.comparison import LIVE, SHADOW, Comparison

HEADER = Header("flights", "a" * 64, "binary", ("no", "yes"), 0.5, ("distance", "hour"), 1)
NAN = math.nan


def request(name: str, *rows: tuple[float, ...], width: int = 2) -> Answered:
    """A request whose rows are features and then scores."""
    features = b"".join(struct.pack(f"<{width}f", *row[:width]) for row in rows)
    scores = b"".join(struct.pack(f"<{len(row) - width}f", *row[width:]) for row in rows)
    return Answered(name.encode(), len(rows), features, scores)


def compared(live: Answered, shadow: Answered, header: Header = HEADER) -> Comparison:
    made = Comparison()
    made.add(SHADOW, header, shadow, now=0)  # the order in which they come does not matter
    made.add(LIVE, HEADER, live, now=1)
    return made


def test_nothing_differs_when_all_bits_are_equal() -> None:
    rows = (1.0, NAN, 0.25), (2.0, 3.0, 0.75)
    found = compared(request("x", *rows), request("x", *rows)).summary()
    assert found["requests"] == {"compared": 1, "live_only": 0, "shadow_only": 0, "dropped": 0, "waiting": 0}
    assert found["rows"] == {"compared": 2, "differing": 0}
    assert found["examples"] == []


def test_rows_features_scores_and_labels_that_differ_are_counted_and_shown() -> None:
    live = request("x", (1.0, NAN, 0.25), (2.0, 3.0, 0.75), (4.0, 5.0, 0.5))
    shadow = request("x", (1.0, NAN, 0.25), (2.0, 3.0, 0.25), (4.0, NAN, 0.5))
    found = compared(live, shadow).summary()
    assert found["rows"] == {"compared": 3, "differing": 2}
    assert found["features"] == {"differing": {"hour": 1}, "live_only": [], "shadow_only": []}
    assert found["scores"] == {"differing": 1, "largest_difference": 0.5}
    assert found["labels"] == {"differing": 1}
    assert found["examples"] == [
        {"row": 1, "features": {}, "scores": {"live": [0.75], "shadow": [0.25]}},
        {"row": 2, "features": {"hour": [5.0, None]}, "scores": {"live": [0.5], "shadow": [0.5]}},
    ]


def test_features_are_compared_by_name_when_the_shadow_has_others() -> None:
    header = HEADER._replace(features=("day", "hour", "distance"))
    found = compared(request("x", (1.0, 2.0, 0.5)), request("x", (9.0, 2.0, 1.0, 0.5), width=3), header).summary()
    assert found["rows"]["differing"] == 0
    assert found["features"] == {"differing": {}, "live_only": [], "shadow_only": ["day"]}


def test_request_is_counted_for_one_side_when_the_other_does_not_answer_in_time() -> None:
    made = Comparison()
    made.add(LIVE, HEADER, request("lost", (1.0, 2.0, 0.5)), now=0)
    made.add(SHADOW, HEADER, request("late", (1.0, 2.0, 0.5)), now=10)
    made.expire(now=15)
    assert made.summary()["requests"]["waiting"] == 2
    made.expire(now=16)
    assert made.summary()["requests"] == {"compared": 0, "live_only": 1, "shadow_only": 0, "dropped": 0, "waiting": 1}
    made.expire(now=60)
    assert made.summary()["requests"]["shadow_only"] == 1


def test_memory_is_bounded_and_what_is_dropped_is_counted(monkeypatch) -> None:
    monkeypatch.setattr(comparison, "_MOST_BYTES", 10_000)
    made = Comparison()
    for number in range(100):
        made.add(LIVE, HEADER, request(f"{number:05}", (1.0, 2.0, 0.5)), now=0)
    requests = made.summary()["requests"]
    assert requests["dropped"] + requests["waiting"] == 100
    assert 15 < requests["waiting"] < 20
