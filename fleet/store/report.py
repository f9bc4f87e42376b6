"""A store's content, as plain values and as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from contract.bundle import evidence, signature
from contract.bundle.manifest import Manifest
from contract.errors import BulkheadError
from contract.schema.tasks import TASKS
from contract.store.channel import Channel
from contract.store.place import Entry
from contract.store.store import Store


def rows(store: Store) -> list[dict[str, Any]]:
    """Return a row for each bundle, newest first; an unreadable manifest is that row's `problem`."""
    channels = store.channels()
    found = [_row(store, entry, channels) for entry in store.entries()]
    return sorted(found, key=lambda row: str(row["published_at"]), reverse=True)


def details(store: Store, digest: str, verify_keys: Sequence[bytes]) -> dict[str, Any]:
    """Return a bundle's claims, channels and signature check."""
    entry = next(entry for entry in store.entries() if entry.name == digest)
    claims = store.claims(digest)
    return {
        **_row(store, entry, store.channels()),
        "task": claims.task,
        "files": len(claims.files),
        "environment": claims.environment,
        "inputs": claims.inputs,
        "metrics": claims.metrics,
        "gate": _gate(store, digest, claims),
        "signature": _signature(store, digest, verify_keys),
    }


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as text; empty where there are none."""
    if not found:
        return ""
    lines = [f"{'bundle':<14}{'name':<16}{'published':<18}{'MB':>6}  {'metric, 95 % bounds':<36}channels"]
    for row in found:
        metric = row["problem"] or " ".join(f"{name} {said}" for name, said in scores(row["metric"], row["bounds"]))
        lines.append(
            f"{row['digest'][:12]:<14}{(row['name'] or '–')[:14]:<16}{row['published_at'][:16]:<18}"
            f"{row['size_bytes'] / 1e6:6.1f}  {metric[:80]:<36}{', '.join(row['channels'])}".rstrip()
        )
    return "\n".join(lines)


def describe(found: Mapping[str, Any]) -> str:
    """Return the details of one bundle as text."""
    key, inputs, gate = found["signature"], found["inputs"], found["gate"]
    months = sorted(inputs.get("partitions", {}))
    metrics = [f"{name} {said}" for name, said in scores(found["metrics"], found["metrics"].get("bounds", {}))]
    span = f", {months[0]} to {months[-1]}" if months else ""
    lines = [
        f"{found['name']} {found['digest']}",
        f"  task         {found['task']}",
        f"  published    {found['published_at']}, {found['files']} files, {found['size_bytes'] / 1e6:.1f} MB",
        f"  channels     {', '.join(found['channels']) or 'none'}",
        f"  signature    {'verifies (key ' + key['key'] + ')' if key['verifies'] else key['problem']}",
        f"  data         {len(months)} partitions{span}",
        f"  code         {len(inputs.get('pipeline_code', {}))} files of the pipeline",
        f"  environment  {found['environment']['lock']}, {found['environment']['lock_sha256'][:12]}",
        f"  metrics      {metrics[0] if metrics else 'none'}",
        *(f"               {metric}" for metric in metrics[1:]),
    ]
    verdict = {True: "approved", False: "refused"}.get(gate.get("approved"), "no evidence")
    lines.append(f"  gate         {verdict}, while the live model was {(gate.get('champion') or 'none')[:12]}")
    lines += [f"               {_check(check)}" for check in gate.get("checks", ())]
    lines += [f"               {what}" for what in gate.get("weak", ())]
    lines += [
        f"               suspected leak: {name}, {evidence}" for name, evidence in gate.get("suspects", {}).items()
    ]
    lines += [f"               breaks callers of that live model: {what}" for what in gate.get("breaks", ())]
    return "\n".join(lines)


def scores(metrics: Mapping[str, Any], bounds: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name of each figure, and it with its 95 % bounds, or the words that the manifest has none."""
    for name, value in metrics.items():
        if isinstance(value, int | float):
            found = bounds.get(name)
            said = f"{found['lower_bound']:.4f} to {found['upper_bound']:.4f}" if found else "no bounds"
            yield name, f"{value:.4f} ({said})"


def _row(store: Store, entry: Entry, channels: Sequence[Channel]) -> dict[str, Any]:
    claims, problem = _claims(store, entry.name)
    # Its first move to a channel, if any: `stored_at` is that of the copy, and new in a mirrored store.
    moves = [move["at"] for channel in channels for move in channel.history if move["digest"] == entry.name]
    stored_at = entry.stored_at.isoformat(timespec="seconds")
    return {
        "digest": entry.name,
        "name": claims.name if claims else None,
        "published_at": min(moves, default=stored_at),
        "stored_at": stored_at,
        "size_bytes": entry.size_bytes,
        "channels": [channel.name for channel in channels if channel.digest == entry.name],
        **(_headline(claims) if claims else {"metric": {}, "bounds": {}}),
        "problem": problem,
    }


def _claims(store: Store, digest: str) -> tuple[Manifest | None, str | None]:
    try:
        return store.claims(digest), None
    except BulkheadError as error:
        return None, str(error)


def _gate(store: Store, digest: str, claims: Manifest) -> dict[str, Any]:
    """Return the gates with their checks; earlier bundles have them in the manifest, and a corrupt one is not believed."""
    try:
        found: dict[str, Any] = json.loads((store.path(digest) / evidence.GATES).read_bytes())
    except (BulkheadError, OSError):
        return claims.gate
    return found


def _headline(claims: Manifest) -> dict[str, Any]:
    # Before it named its headline, a bundle had that of its task.
    name = claims.gate.get("headline") or (TASKS[claims.task].headline if claims.task in TASKS else "")
    found = {"metric": claims.metrics, "bounds": claims.metrics.get("bounds", {})}
    return {key: {name: part[name]} if name in part else {} for key, part in found.items()}


def _signature(store: Store, digest: str, verify_keys: Sequence[bytes]) -> dict[str, Any]:
    """Return whether every byte is as signed, and the key that signed it."""
    try:
        key = signature.verify(store.path(digest), verify_keys)
    except BulkheadError as error:
        return {"key": None, "verifies": False, "problem": str(error)}
    return {"key": signature.key_id(key), "verifies": True, "problem": None}


def _check(check: Mapping[str, Any]) -> str:
    """Return a check in a line; checks of earlier bundles have `passed` instead of a verdict."""
    verdict = check.get("verdict", "passed" if check.get("passed") else "failed")
    asks = f": {check['asks']}" if "asks" in check else ""
    said = [f"{name} {value:.4g}" for name, value in check.items() if isinstance(value, float)]
    because = "; ".join([", ".join(said)] if said else check.get("because", ()))
    return f"{verdict if verdict == 'passed' else verdict.upper()}: {check.get('name')}{asks} ({because})"
