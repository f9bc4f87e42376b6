"""The comparison of a shadow with the live bundle: the same requests, joined by Envoy's names of them, and what differs is counted.

Answers of equal bundles are equal bit for bit, so every difference says something. The logs hold no feature made from personal data, and
so neither does anything here: a difference in such a feature shows in the scores alone.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from contract.prediction_log.frames import Answered, Header

LIVE, SHADOW = "live", "shadow"
_PATIENCE_S = 15.0  # a request has 10 s, and its rows a second to reach the log
_MOST_BYTES = 64 << 20  # of the requests that wait for their other side
_OVERHEAD_BYTES = 500  # of each of them
_EXAMPLES = 10


@dataclass
class Comparison:
    """The counts of one shadow, and the requests that one side alone has answered yet.

    Attributes:
        compared, rows: requests that both answered, and their rows.
        one_sided: requests that one side alone answered in time: the other refused, failed, or did not get them.
        dropped: requests not compared because too many waited for their other side.
        differing: rows with another feature or score.
        features: rows by feature that differs.
        scores, labels: rows with another score, and with another label.
        largest: the largest difference of two scores.
        examples: of the first differing rows: features and scores that differ, live and shadow.
    """

    compared: int = 0
    rows: int = 0
    one_sided: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    differing: int = 0
    features: Counter[str] = field(default_factory=Counter)
    scores: int = 0
    labels: int = 0
    largest: float = 0.0
    examples: list[dict[str, Any]] = field(default_factory=list)
    _headers: dict[str, Header] = field(default_factory=dict)
    _waiting: OrderedDict[bytes, tuple[str, Answered, float]] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def add(self, side: str, header: Header, request: Answered, now: float) -> None:
        """Take an answered request of one side, and compare it once the other side's is there."""
        self._headers[side] = header
        other = self._waiting.get(request.identifier)
        if (
            other is None or other[0] == side
        ):  # the same side twice: Envoy asked another replica after a broken connection
            self._wait(side, request, now)
            return
        self._forget(request.identifier)
        both = {side: request, other[0]: other[1]}
        self._compare(both[LIVE], both[SHADOW])

    def expire(self, now: float) -> None:
        """Count the requests whose other side has not come in time."""
        while self._waiting:
            identifier, (side, _, since) = next(iter(self._waiting.items()))
            if now - since <= _PATIENCE_S:
                return
            self.one_sided[side] += 1
            self._forget(identifier)

    def summary(self) -> dict[str, Any]:
        """Return the counts as plain values; see the attributes."""
        live, shadow = (
            set(self._headers[side].features) if side in self._headers else set() for side in (LIVE, SHADOW)
        )
        return {
            "requests": {
                "compared": self.compared,
                "live_only": self.one_sided[LIVE],
                "shadow_only": self.one_sided[SHADOW],
                "dropped": self.dropped,
                "waiting": len(self._waiting),
            },
            "rows": {"compared": self.rows, "differing": self.differing},
            "features": {
                "differing": dict(self.features.most_common()),
                "live_only": sorted(live - shadow) if shadow else [],
                "shadow_only": sorted(shadow - live) if live else [],
            },
            "scores": {"differing": self.scores, "largest_difference": self.largest},
            "labels": {"differing": self.labels},
            "examples": self.examples,
        }

    def _wait(self, side: str, request: Answered, now: float) -> None:
        self._forget(request.identifier)
        self._waiting[request.identifier] = side, request, now
        self._bytes += _size(request)
        while self._bytes > _MOST_BYTES:
            self.dropped += 1
            self._forget(next(iter(self._waiting)))

    def _forget(self, identifier: bytes) -> None:
        if found := self._waiting.pop(identifier, None):
            self._bytes -= _size(found[1])

    def _compare(self, live: Answered, shadow: Answered) -> None:
        self.compared += 1
        self.rows += live.rows
        ours, theirs = self._headers[LIVE], self._headers[SHADOW]
        # The usual case costs two comparisons of bytes.
        if ours.features == theirs.features and (live.features, live.scores) == (shadow.features, shadow.scores):
            return
        for row, (one, other) in enumerate(zip(_rows(live, ours), _rows(shadow, theirs), strict=False)):
            self._compare_row(row, one, other)
        self.differing += abs(live.rows - shadow.rows)

    def _compare_row(self, row: int, live: _Row, shadow: _Row) -> None:
        features = {
            name: [_plain(value), _plain(shadow.features[name])]
            for name, value in live.features.items()
            if name in shadow.features and not _is_same(value, shadow.features[name])
        }
        is_other = len(live.scores) != len(shadow.scores) or not all(map(_is_same, live.scores, shadow.scores))
        if not features and not is_other:
            return
        self.differing += 1
        self.features.update(features.keys())
        self.scores += is_other
        self.labels += live.label != shadow.label
        differences = (abs(one - other) for one, other in zip(live.scores, shadow.scores, strict=False))
        self.largest = max(self.largest, *(each for each in differences if math.isfinite(each)), 0.0)
        if len(self.examples) < _EXAMPLES:
            scores = {"live": [*map(_plain, live.scores)], "shadow": [*map(_plain, shadow.scores)]}
            self.examples.append({"row": row, "features": features, "scores": scores})


@dataclass(frozen=True, slots=True)
class _Row:
    features: dict[str, float]
    scores: array[float]
    label: object


def _rows(request: Answered, header: Header) -> Iterator[_Row]:
    numbers, scores = array("f", request.features), array("f", request.scores)
    width = len(header.features)
    for row in range(request.rows):
        own = scores[row * header.scores : (row + 1) * header.scores]
        values = numbers[row * width : (row + 1) * width]
        yield _Row(dict(zip(header.features, values, strict=True)), own, _label(header, own))


def _label(header: Header, scores: array[float]) -> object:
    """Return the label of a row; None where a task has none."""
    if header.threshold is not None:
        return scores[0] >= header.threshold
    # One score for each label; a quantile is no label, whatever the header calls it.
    return header.labels[max(range(len(scores)), key=scores.__getitem__)] if header.task == "multiclass" else None


def _is_same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _size(request: Answered) -> int:
    return len(request.identifier) + len(request.features) + len(request.scores) + _OVERHEAD_BYTES
