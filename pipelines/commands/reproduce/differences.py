"""The differences between two documents, and between a published bundle and the one that was built from its inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contract.bundle import manifest
from contract.errors import Problem

_WHOLE = 24  # characters of the longest number: two may differ in the last digit alone


def between(published: Path, rebuilt: Path) -> list[Problem]:
    """Return every difference, inputs first, then files, figures and evidence; none if the digests are equal."""
    if manifest.digest_of(published) == manifest.digest_of(rebuilt):
        return []
    before, after = (asdict(manifest.read(bundle)) for bundle in (published, rebuilt))
    order = {name: index for index, name in enumerate(("inputs", "environment", "files", "metrics", "gate"))}
    return [
        problem
        for section in sorted(before, key=lambda name: order.get(name, len(order)))
        for problem in differences(
            section, before[section], after[section], ("the published bundle", "the rebuilt one")
        )
    ]


def differences(key: str, before: Any, after: Any, sides: tuple[str, str]) -> Iterator[Problem]:
    """Yield a line for each difference between two JSON documents, which `sides` names; numbers differ by their last digit."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted(before.keys() | after.keys()):
            yield from differences(f"{key}.{name}" if key else name, before.get(name), after.get(name), sides)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after, strict=True)):
            yield from differences(f"{key}[{index}]", *pair, sides)
    elif before != after:
        yield Problem(None, None, f"{key}: {_short(before)} in {sides[0]}, {_short(after)} in {sides[1]}")


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= _WHOLE else f"{text[:12]}…"
