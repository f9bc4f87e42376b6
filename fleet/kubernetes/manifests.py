"""The objects of a cluster, as Kustomize renders an overlay."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from contract.errors import ConfigurationError

Object = dict[str, Any]
LIVE, CANARY = "live", "canary"
_RENDER_LIMIT_S = 60
# What the verbs change; the rest is `up`'s, and needs an administrator.
_MOVING = {"Deployment", "HorizontalPodAutoscaler", "HTTPRoute", "GRPCRoute"}


def render(overlay: Path) -> list[Object]:
    """Return the objects of an overlay, in the order to apply them.

    Raises:
        ConfigurationError: `kubectl` is not in this environment, or refuses the overlay.
    """
    kubectl = Path(sys.executable).with_name("kubectl")
    if not kubectl.is_file():
        raise ConfigurationError(f"there is no {kubectl}: make .venv/kubernetes/installed.txt")
    done = subprocess.run(
        [kubectl, "kustomize", overlay], capture_output=True, text=True, timeout=_RENDER_LIMIT_S, check=False
    )
    if done.returncode:
        raise ConfigurationError(f"{overlay} is not a Kustomize overlay: {' '.join(done.stderr.split())[:500]}")
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def namespace_of(objects: Sequence[Object]) -> str:
    """Return the namespace of the replicas."""
    return str(one(objects, "Deployment", LIVE)["metadata"]["namespace"])


def one(objects: Sequence[Object], kind: str, track: str | None = None) -> Object:
    """Return the object of a kind, of that track if there is one of each.

    Raises:
        ConfigurationError: an overlay has removed it.
    """
    for each in objects:
        if each["kind"] == kind and track in (None, each["metadata"].get("labels", {}).get("track")):
            return each
    raise ConfigurationError(f"the overlay renders no {kind}{f' of track {track}' if track else ''}")


def moving(objects: Sequence[Object]) -> list[Object]:
    """Return those objects that verbs change."""
    return [each for each in objects if each["kind"] in _MOVING]
