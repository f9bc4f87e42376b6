"""The code blocks of the pages, as Sybil finds them. A test runs each one, or its page says why not.

A comment before a block says that the runner of `tests/functional/pages` leaves it out, and why:

    <!-- skip: next "run by tests/bentos/clients/test_clients.py" -->      the named test takes the block from the page, by this module
    <!-- skip: next "not run: needs podman" -->                    nothing runs it; `tests/structure` counts these
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from unittest import SkipTest

from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown import SkipParser
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

from harness import PROJECT

ADDITIONS = "docs/how-to/add-a-"  # pages that are run as a whole
PAGES = sorted(
    path.relative_to(PROJECT).as_posix()
    for path in (*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), PROJECT / "examples" / "README.md")
)


@dataclass(frozen=True)
class Block:
    """A code block of a page.

    Attributes:
        reason: why the runner leaves it out; None where it runs it.
    """

    page: str
    line: int
    language: str
    text: str
    reason: str | None


def blocks(page: str, language: str = "") -> list[Block]:
    """Return the code blocks of a page, a path in the project, in order; those of one language where it is given."""
    found = list(_blocks(page))
    return [block for block in found if language in ("", block.language)]


def block(page: str, containing: str, language: str = "") -> str:
    """Return the text of the first block of a page that contains a text."""
    return next(each.text for each in blocks(page, language) if containing in each.text)


def _blocks(page: str) -> Iterator[Block]:
    document = Sybil([_fences, SkipParser()]).parse(PROJECT / page)
    for example in document.examples():
        reason = "run by tests/structure/test_how_to.py" if page.startswith(ADDITIONS) else None
        try:
            example.evaluate()
        except SkipTest as skipped:
            reason = str(skipped)
        if isinstance(example.parsed, dict):
            yield Block(page, example.line, example.parsed["language"], example.parsed["source"], reason)


def _fences(document: Document) -> Iterator[Region]:
    for region in FencedCodeBlockLexer(r"[a-z]+")(document):
        yield Region(region.start, region.end, region.lexemes, _found)


def _found(_: Example) -> None:
    """Accept a block that is not skipped."""
