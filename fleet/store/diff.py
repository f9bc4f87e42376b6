"""The differences of two bundles: their inputs, their serving settings, and their scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contract.bundle import evidence
from contract.bundle.manifest import Manifest
from contract.model import compatibility
from contract.store.store import Store
from fleet.store import callers, report

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
    bounds = claims.metrics.get("bounds", {})
    made_from, scores = _made_from(claims), _scores(claims)
    return {"digest": digest, **made_from, "packages": packages, "metrics": scores, "bounds": bounds, "schema": schema}


def difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Return section -> name -> (of a, of b), None where one lacks it: all metrics and their bounds, and of the rest the differences.

    And `breaks`: what breaks callers of a when b answers them.
    """
    metrics, bounds = (
        {name: (a[part].get(name), b[part].get(name)) for name in {**a[part], **b[part]}}
        for part in ("metrics", "bounds")
    )
    sections = {name: changes(a[name], b[name]) for name in SECTIONS}
    breaks = [str(problem) for problem in compatibility.breaks(a["schema"], b["schema"])]
    return {"a": a["digest"], "b": b["digest"], **sections, "metrics": metrics, "bounds": bounds, "breaks": breaks}


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
    lines += ["", f"{'metrics, with 95 % bounds':<26}{'a':<30}b"]
    sides = [
        dict(
            report.scores(
                *({name: both[place] for name, both in found[part].items()} for part in ("metrics", "bounds"))
            )
        )
        for place in (0, 1)
    ]
    lines += [f"{name:<26}{sides[0].get(name, '–'):<30}{sides[1].get(name, '–')}" for name in found["metrics"]]
    # Without a difference: it would need the same rows, and bounds of its own, which the gates have.
    return "\n".join([*lines, "Each on its own hold-out: the gates of b say whether it is worse than what was live."])


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
