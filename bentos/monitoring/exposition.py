"""Prometheus' text format, version 0.0.4.

prometheus_client takes some 15 µs per sample: with the hundreds of samples of one replica, every scrape would block requests for 10 ms.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Family:
    """The samples of one metric; a plain class, for what reads metrics in environments without msgspec.

    Attributes:
        kind: `counter`, `gauge` or `histogram`.
        samples: suffix of the name, labels as `labels` writes them, value.
    """

    def __init__(self, name: str, kind: str, text: str) -> None:
        self.name, self.kind, self.text = name, kind, text
        self.samples: list[tuple[str, str, float]] = []

    def add(self, labels: str, value: float) -> None:
        """Add a sample; a counter's name gets the suffix `_total`."""
        self.samples.append(("_total" if self.kind == "counter" else "", labels, value))

    def add_histogram(self, labels: str, bounds: Sequence[float], counts: Iterable[int], total: float) -> None:
        """Add a histogram.

        Args:
            counts: by bucket, not cumulative; the last is above the last of `bounds`.
            total: the sum of all observed values.
        """
        comma = "," if labels else ""
        reached = list(itertools.accumulate(counts))
        for bound, count in zip((*map(repr, bounds), "+Inf"), reached, strict=True):
            self.samples.append(("_bucket", f'{labels}{comma}le="{bound}"', count))
        self.samples.extend((("_count", labels, reached[-1]), ("_sum", labels, total)))


def labels(values: Mapping[str, str]) -> str:
    """Return the labels of a sample, escaped."""
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in values.items())


def exposition(families: Iterable[Family]) -> str:
    """Return the families as a page."""
    return "".join(f"{line}\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    name = f"{family.name}_total" if family.kind == "counter" else family.name
    yield f"# HELP {name} {family.text}"
    yield f"# TYPE {name} {family.kind}"
    for end, labelled, value in family.samples:
        yield f"{family.name}{end}{{{labelled}}} {value!r}"
