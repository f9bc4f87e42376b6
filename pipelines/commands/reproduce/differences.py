"""The differences between a published bundle and the one that was built from its inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contract.bundle import manifest
from contract.errors import Problem


def between(published: Path, rebuilt: Path) -> list[Problem]:
    """Return every difference, inputs first, then files, figures and evidence; none if the digests are equal."""
    if manifest.digest_of(published) == manifest.digest_of(rebuilt):
        return []
    before, after = (asdict(manifest.read(bundle)) for bundle in (published, rebuilt))
    order = {name: index for index, name in enumerate(("inputs", "environment", "files", "metrics", "gate"))}
    return [
        problem
        for section in sorted(before, key=lambda name: order.get(name, len(order)))
        for problem in _differences(section, before[section], after[section])
    ]


def _differences(key: str, before: Any, after: Any) -> Iterator[Problem]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted(before.keys() | after.keys()):
            yield from _differences(f"{key}.{name}", before.get(name), after.get(name))
    elif before != after:
        yield Problem(
            None, None, f"{key}: {_short(before)} in the published bundle, {_short(after)} in the rebuilt one"
        )


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 20 else f"{text[:12]}…"
