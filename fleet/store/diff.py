"""The differences of two bundles: their inputs, their serving settings, and their scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contract.bundle import evidence
from contract.bundle.manifest import Manifest
from contract.model import compatibility
from contract.store.store import Store
from fleet.store import callers

Change = tuple[Any, Any]
SECTIONS = ("partitions", "params", "code", "packages", "files")


def side(store: Store, digest: str) -> dict[str, Any]:
    """Return everything compared of one bundle."""
    bundle = store.path(digest)
    claims = store.claims(digest)
    # Of the lock: the SBOM lists the packages of one platform.
    pinned = evidence.packages((bundle / claims.environment["lock"]).read_text())
    packages = {name: ", ".join(versions) for name, versions in pinned.items()}
    schema = callers.read_schema(bundle)
    return {"digest": digest, **_made_from(claims), "packages": packages, "metrics": _scores(claims), "schema": schema}


def difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Return section -> name -> (of a, of b), None where one lacks it: all metrics, and of the rest the differences.

    And `breaks`: what breaks callers of a when b answers them.
    """
    metrics = {name: (a["metrics"].get(name), b["metrics"].get(name)) for name in {**a["metrics"], **b["metrics"]}}
    sections = {name: changes(a[name], b[name]) for name in SECTIONS}
    breaks = [str(problem) for problem in compatibility.breaks(a["schema"], b["schema"])]
    return {"a": a["digest"], "b": b["digest"], **sections, "metrics": metrics, "breaks": breaks}


def changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Change]:
    """Return name -> (of a, of b) where the two differ."""
    return {name: (a.get(name), b.get(name)) for name in sorted({*a, *b}) if a.get(name) != b.get(name)}


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, `train.max_depth` -> 6; an empty mapping is a value."""
    if not isinstance(value, Mapping) or not value:
        return {prefix: value}
    return {
        key: leaf
        for name, inner in value.items()
        for key, leaf in flat(inner, f"{prefix}.{name}" if prefix else str(name)).items()
    }


def describe(found: Mapping[str, Any]) -> str:
    """Return the differences as text."""
    lines = [f"a  {found['a']}", f"b  {found['b']}"]
    for name in SECTIONS:
        if found[name]:
            lines += ["", f"{name}: {len(found[name])} differ", *map(_line, found[name].items())]
    equal = [name for name in SECTIONS if not found[name]]
    lines += ["", f"the same: {', '.join(equal)}"] if equal else []
    broken = [f"breaks callers of a when b answers: {len(found['breaks'])}", *(f"  {text}" for text in found["breaks"])]
    lines += ["", *(broken if found["breaks"] else ["breaks callers of a when b answers: nothing"])]
    lines += ["", f"{'metrics':<24}{'a':>12}{'b':>12}{'b - a':>12}"]
    return "\n".join([*lines, *(_measure(name, *both) for name, both in found["metrics"].items())])


def _made_from(claims: Manifest) -> dict[str, Any]:
    return {
        "partitions": claims.inputs.get("partitions", {}),
        "params": flat(claims.inputs.get("params", {})),
        "code": claims.inputs.get("pipeline_code", {}),
        "files": claims.files,
    }


def _scores(claims: Manifest) -> dict[str, float]:
    return {name: value for name, value in claims.metrics.items() if isinstance(value, int | float)}


def _line(item: tuple[str, Change]) -> str:
    name, (a, b) = item
    return f"  {name}: {_short(a)} -> {_short(b)}"


def _short(value: Any) -> str:
    text = "–" if value is None else str(value)
    is_digest = len(text) == 64 and " " not in text
    return text[:12] if is_digest else text[:100]


def _measure(name: str, a: float | None, b: float | None) -> str:
    apart = f"{b - a:+12.4f}" if a is not None and b is not None else ""
    return f"{name:<24}" + "".join(f"{value:12.4f}" if value is not None else f"{'–':>12}" for value in (a, b)) + apart
