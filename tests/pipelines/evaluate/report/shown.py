"""Every figure that a page shows, and those that stand there without their bounds or the words that there is too little for them.

A figure is a number with decimals or a percent sign. Whole numbers are counts of rows, days and resamplings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from typing import Any, NamedTuple

# Columns of what is no estimate: settings, p-values, names, one row alone, and properties of the model itself.
FACTS = {
    "allowed", "limit", "margin", "p (Holm)", "slice", "expectation", "largest change against it (one row)",
    "share of the total gain", "share of the total weight",
}  # fmt: skip
# What is fetched with a page; a place on the page itself is not.
FETCHED = re.compile(r"<(?:script|img|iframe|link)|@import|url\((?!#)")
_NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?%?"
_BOUNDED = (
    rf"{_NUMBER} ?\((?:95 % bounds )?{_NUMBER} to {_NUMBER}(?:, 95 % interval)?\)",
    rf"{_NUMBER} ?\(too few \w+(?: for bounds)?(?:: \d+)?\)",
    rf"{_NUMBER}, 95 % bounds {_NUMBER} and {_NUMBER}",
    rf"{_NUMBER}, over \d+ \w+, too few for bounds",
    rf"a difference of {_NUMBER} with power {_NUMBER}",  # what the rows could show, not what they showed
)
_ESTIMATE = re.compile(r"[-+]?\d[\d,]*\.\d+(?:e[-+]?\d+)?%?|[-+]?\d+%")


class Block(NamedTuple):
    """A cell with the head of its column, or a paragraph without one."""

    head: str
    text: str


def unbounded(blocks: Iterable[Block], declared: Any) -> list[str]:
    """Return the figures without bounds or words, each with its block.

    Args:
        declared: settings, whose numbers are no estimates: mappings, lists and numbers in whatever depth.
    """
    settings, found = {round(abs(number), 9) for number in _numbers(declared)}, []
    for block in blocks:
        if block.head in FACTS:
            continue
        text = block.text
        for pattern in _BOUNDED:
            text = re.sub(pattern, "", text)
        for figure in _ESTIMATE.findall(text):
            number = float(figure.rstrip("%").replace(",", "")) / (100 if figure.endswith("%") else 1)
            if round(abs(number), 9) not in settings:
                found.append(f"{figure} in {block}")
    return found


def of_html(page: str) -> list[Block]:
    """Return the cells and paragraphs of a page, without its pictures and code."""
    reader = _Reader()
    reader.feed(page)
    return reader.blocks


def of_markdown(text: str) -> Iterator[Block]:
    """Yield the cells and paragraphs of a text, without its code."""
    heads: list[str] = []
    for line in re.sub(r"`[^`]*`", "", text).splitlines():
        if not line.startswith("|"):
            heads = []
            yield Block("", line)
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not heads:
            heads = cells
        for head, cell in zip(heads, cells, strict=True):
            yield Block(head, cell)


def _numbers(declared: Any) -> Iterator[float]:
    if isinstance(declared, dict):
        for each in declared.values():
            yield from _numbers(each)
    elif isinstance(declared, (list, tuple)):
        for each in declared:
            yield from _numbers(each)
    elif isinstance(declared, (int, float)):
        yield float(declared)


class _Reader(HTMLParser):
    """Collects the text of each innermost block."""

    _BLOCKS = ("td", "th", "p", "li", "summary", "figcaption", "h1", "h2", "h3")
    _UNSEEN = ("svg", "style", "script", "code")

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[Block] = []
        self._heads: list[str] = []
        self._at, self._is_first, self._unseen = 0, False, 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag in self._UNSEEN:
            self._unseen += 1
        elif tag == "table":
            self._heads, self._is_first = [], True
        elif tag == "tr":
            self._at = 0
        elif tag in self._BLOCKS:
            assert "colspan" not in dict(attrs), "a cell below several heads has no meaning of its own"
            head = self._heads[self._at] if tag in ("td", "th") and not self._is_first and self._heads else ""
            self.blocks.append(Block(head, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in self._UNSEEN:
            self._unseen -= 1
        elif tag == "tr":
            self._is_first = False
        elif tag in ("td", "th"):
            self._at += 1
            if self._is_first:
                self._heads.append(self.blocks[-1].text.strip())

    def handle_data(self, data: str) -> None:
        if not self._unseen and self.blocks:
            last = self.blocks[-1]
            self.blocks[-1] = last._replace(text=last.text + data.replace("\n", " "))
