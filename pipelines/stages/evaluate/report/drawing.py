"""Pictures for pages: SVG in the colours of the page, light or dark; the same numbers give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

# Each is drawn in a colour of its own, in whose place the page's variable is written.
MODEL, CHANCE, INK = "#2456a6", "#9aa3ad", "#1c2733"
_VARIABLES = {MODEL: "var(--accent)", CHANCE: "var(--chance)", INK: "currentColor"}
_STYLE = {
    "svg.hashsalt": "bulkhead",  # without a salt the ids of SVG elements are random
    "svg.fonttype": "none",  # text as text: it takes the page's colour, and can be searched and read aloud
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style of the pages until the end of a block."""
    import matplotlib

    matplotlib.use("svg")
    with matplotlib.rc_context(_STYLE):
        yield


def canvas() -> Any:
    """Return an empty figure with its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.4), layout="constrained", facecolor="none")
    return figure, figure.add_subplot(facecolor="none")


def svg(figure: Any) -> str:
    """Return a figure as an SVG element, in the variables of the page's colours."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    content = text.getvalue()
    for colour, variable in _VARIABLES.items():
        content = content.replace(colour, variable)
    return content[content.index("<svg") :]


def titled(picture: str, caption: str) -> str:
    """Give the picture its name for readers of the screen, and its elements ids that no other picture of the page has."""
    name = "".join(letter if letter.isalnum() else "-" for letter in caption.lower())
    for place in ('id="', 'xlink:href="#', "url(#"):
        picture = picture.replace(place, f"{place}{name}-")
    return picture.replace("<svg ", f'<svg role="img" aria-label="{escape(caption)}" ', 1)
