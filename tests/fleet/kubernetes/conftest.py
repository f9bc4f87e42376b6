"""What every test of the cluster's fleet shares; they run in an environment of their own, and are skipped in others."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

if not (find_spec("kubernetes") and find_spec("kmock") and find_spec("kubernetes_validate")):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def rendered() -> dict[str, list[dict[str, object]]]:
    """Overlay -> its objects, as the real kubectl renders them."""
    from fleet.kubernetes import manifests
    from fleet.kubernetes.__main__ import OVERLAYS

    return {name: manifests.render(OVERLAYS / name) for name in ("laptop", "production")}
