"""Pages for people: one HTML file each, made from a template."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

# What the page of an evaluation says of the bundle, which is built after it.
_BUNDLE = re.compile(r'(?<=<p id="bundle">).*?(?=</p>)', re.DOTALL)


def render(template: Path, **values: Any) -> str:
    """Return the page of a Jinja template; every value is escaped, and a missing one raises jinja2.UndefinedError."""
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(**values)


def of_bundle(page: str, digest: str) -> str:
    """Return the page of an evaluation with the digest of the bundle that was built of its model.

    Raises:
        ValueError: the page has no place for it.
    """
    named, places = _BUNDLE.subn(f"Bundle <code>{digest}</code>", page)
    if places != 1:
        raise ValueError(f"the page of the evaluation has {places} places for the digest of the bundle, not one")
    return named
