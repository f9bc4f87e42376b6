"""Waiting until a Deployment's replicas are available, and saying why they are not."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from contract.errors import ConflictError, UnavailableError
from fleet.kubernetes.api import Api

_POLL_S = 0.5
# The cluster itself says when a rollout makes no progress; this is for one whose controllers do not run.
_GRACE_S = 30.0
Object = Mapping[str, Any]


def wait(api: Api, wanted: Object, least: int, tell: Callable[[str], None]) -> None:
    """Wait until all replicas run what is wanted, `least` of them or more, and are available.

    Raises:
        UnavailableError: the rollout made no progress for as long as the Deployment says.
        ConflictError: another command has changed the Deployment meanwhile.
    """
    name, namespace = wanted["metadata"]["name"], wanted["metadata"]["namespace"]
    limit_s = wanted["spec"]["progressDeadlineSeconds"] + _GRACE_S
    seen: object = None
    changed = time.monotonic()
    while True:
        found = api.get("Deployment", namespace, name) or {}
        if digest_of(found) != digest_of(wanted):
            raise ConflictError(f"another command changed deployment/{name} meanwhile: look at `status` and repeat")
        if is_done(found, least):
            return
        status = found.get("status", {})
        if status != seen:
            seen, changed = status, time.monotonic()
            tell(
                f"{name}: {status.get('availableReplicas', 0)} of {found['spec'].get('replicas', 1)} replicas are available"
            )
        if _has_failed(found) or time.monotonic() - changed > limit_s:
            reasons = "".join(f"; {reason}" for reason in _reasons(api, found))
            raise UnavailableError(
                f"the replicas of {digest_of(wanted)[:12]} in deployment/{name} did not become available{reasons}"
            )
        time.sleep(_POLL_S)


def is_done(deployment: Object, least: int) -> bool:
    """Tell whether the Deployment's controller has seen its newest form, and all replicas are of that form and available."""
    status, replicas = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    is_seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return bool(is_seen and replicas >= least and counts == [replicas] * 3)


def digest_of(deployment: Object) -> str:
    """Return the digest of the bundle that a Deployment or a pod serves, by its annotation."""
    return str(deployment.get("metadata", {}).get("annotations", {}).get("bundle", ""))


def _has_failed(deployment: Object) -> bool:
    status = deployment.get("status", {})
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return False  # what is said is of an older form
    conditions = {each["type"]: each for each in status.get("conditions", [])}
    return bool(conditions.get("Progressing", {}).get("reason") == "ProgressDeadlineExceeded")


def _reasons(api: Api, deployment: Object) -> list[str]:
    """Return why pods are not ready, in the cluster's words, each reason once."""
    pods = api.list("Pod", deployment["metadata"]["namespace"], deployment["spec"]["selector"]["matchLabels"])
    found: dict[str, None] = {}
    for pod in pods:
        if digest_of(pod) != digest_of(deployment):
            continue
        status = pod.get("status", {})
        for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
            state = container.get("state", {}).get("waiting") or container.get("state", {}).get("terminated") or {}
            if state.get("reason") not in (None, "PodInitializing", "Completed"):
                found[
                    f"{container['name']}: {state['reason']} {' '.join(str(state.get('message', '')).split())[:200]}".strip()
                ] = None
        for condition in status.get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                found[f"not scheduled: {condition.get('message', '')}"] = None
    return list(found)[:3]
