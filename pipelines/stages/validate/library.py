"""Great Expectations, imported without what is unused here, and relieved of work that it repeats."""

from __future__ import annotations

import functools
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Clients of clouds, an eighth of the time of the import: blocked.
_UNUSED = ("azure.identity", "azure.storage.blob", "boto3", "google.cloud", "google.oauth2")
# Charts of Data Docs and two tests of distributions, a third of it: imported once somebody uses them.
_LATER = ("altair", "scipy.stats")


def load() -> None:
    """Import Great Expectations, which takes seconds of one core; call it in a thread beside other work."""
    hidden = {name: sys.modules.pop(name, None) for name in _UNUSED}
    sys.modules.update(dict.fromkeys(_UNUSED))  # type: ignore[arg-type]  # None: not to be imported
    for name in _LATER:
        _import_later(name)
    try:
        with quiet():
            from great_expectations.expectations import expectation
    finally:
        for name, module in hidden.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module
    _remember_configurations(expectation)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the deprecation warnings of Great Expectations and its imports, which users cannot fix."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _import_later(name: str) -> None:
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


def _remember_configurations(expectation: Any) -> None:
    """Keep the configuration of each expectation, which Great Expectations derives anew 75 times, a quarter of its checks' time.

    Its expectations could change meanwhile; those of `suite` never do once a check has begun.
    """
    derive = expectation.Expectation.configuration
    if not isinstance(derive, property):
        return  # done already
    expectation.Expectation.configuration = _Remembered(derive.fget)
    expectation.camel_to_snake = functools.cache(expectation.camel_to_snake)


class _Remembered:
    """A property that is computed once for each object, which it keeps alive so that no other gets its identity."""

    def __init__(self, compute: Any) -> None:
        self._compute = compute
        self._known: dict[int, tuple[Any, Any]] = {}

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        if owner is None:
            return self
        if id(owner) not in self._known:
            self._known[id(owner)] = owner, self._compute(owner)
        return self._known[id(owner)][1]
