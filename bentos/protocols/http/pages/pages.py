"""The pages around the predictions: probes, metrics, and the page at `/` with its files, BentoML's copy of Swagger UI.

The files are read from BentoML's package without importing it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from bentos.core import Core
from bentos.monitoring.exposition import CONTENT_TYPE
from bentos.protocols.http.pages import openapi

_HTML, _SCRIPT = b"text/html; charset=utf-8", b"text/javascript; charset=utf-8"
_STATIC = {"swagger-ui.css": b"text/css; charset=utf-8", "swagger-ui-bundle.js": _SCRIPT}
_STATIC_PREFIX = "/static_content/"
_TEXT = b"text/plain; charset=utf-8"
PROBES = frozenset(("/livez", "/readyz", "/healthz"))


class Page(NamedTuple):
    """The answer at a path."""

    status: int
    content: bytes
    content_type: bytes


_DOCUMENTS: dict[str, Callable[[Core], Page]] = {
    "/": lambda core: Page(200, openapi.page(core), _HTML),
    "/page.js": lambda _: Page(200, openapi.SCRIPT, _SCRIPT),
    "/docs.json": lambda core: Page(200, openapi.document(core), b"application/json"),
}
PATHS = PROBES | {*_DOCUMENTS, "/metrics", *(f"{_STATIC_PREFIX}{name}" for name in _STATIC)}


class Pages:
    """The pages at `PATHS`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._made: dict[str, Page] = {}

    def at(self, path: str) -> Page:
        """Return the current page at one of `PATHS`."""
        if path in _DOCUMENTS:
            if path not in self._made:  # not at the start, which would take longer
                self._made[path] = _DOCUMENTS[path](self._core)
            return self._made[path]
        if path.startswith(_STATIC_PREFIX):
            return _static(path.removeprefix(_STATIC_PREFIX))
        if path == "/metrics":
            return Page(200, self._core.metrics.text().encode(), CONTENT_TYPE)
        return Page(503 if path == "/readyz" and not self._core.ready else 200, b"\n", _TEXT)


@cache
def _static(name: str) -> Page:
    package = find_spec("bentoml")
    if package is None or not package.submodule_search_locations:
        raise RuntimeError("bentoml is not installed")
    file = Path(package.submodule_search_locations[0]) / "_internal" / "server" / "static_content" / name
    return Page(200, file.read_bytes(), _STATIC[name])
