"""Rendered objects filled in from the record: images, digests, bounds, limits and weights; pure."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence

from fleet.kubernetes.manifests import CANARY, Object
from fleet.kubernetes.record import Record


def filled(objects: Sequence[Object], record: Record) -> list[Object]:
    """Return the objects with the record's images, digests, bounds, limits and weights; without replicas of bundles that there are not."""
    return [*_filled(copy.deepcopy(list(objects)), record)]


def _filled(objects: list[Object], record: Record) -> Iterator[Object]:
    for each in objects:
        if each["kind"] == "Deployment":
            if record.live is None:
                continue
            _fill_deployment(each, record)
        elif each["kind"] == "HorizontalPodAutoscaler":
            if record.live is None:
                continue
            each["spec"] |= {"minReplicas": record.bounds.min, "maxReplicas": record.bounds.max}
        elif each["kind"] in ("HTTPRoute", "GRPCRoute"):
            _fill_route(each, record)
        yield each


def _fill_deployment(deployment: Object, record: Record) -> None:
    trial = record.declared.canary
    is_canary = deployment["metadata"]["labels"]["track"] == CANARY
    # Without a canary its track has no replicas, of the live bundle: a Deployment needs an image.
    digest = trial.bundle if is_canary and trial else str(record.live)
    deployment["metadata"]["annotations"]["bundle"] = digest
    template = deployment["spec"]["template"]
    template["metadata"]["annotations"]["bundle"] = digest
    for container in (*template["spec"]["initContainers"], *template["spec"]["containers"]):
        container["image"] = record.images[digest]
        container["resources"]["limits"]["memory"] = f"{record.declared.limits.memory_mb}Mi"
        for variable in container["env"]:
            if variable["name"] == "BUNDLE":
                variable["value"] = digest
    if is_canary:
        # As on one machine: its share of the live replicas, at least one.
        share = math.ceil(record.bounds.min * trial.weight / 100) if trial else 0
        deployment["spec"]["replicas"] = share


def _fill_route(route: Object, record: Record) -> None:
    weight = record.declared.canary.weight if record.declared.canary else 0
    for rule in route["spec"]["rules"]:
        for backend in rule["backendRefs"]:
            backend["weight"] = weight if backend["name"].endswith(f"-{CANARY}") else 100 - weight
