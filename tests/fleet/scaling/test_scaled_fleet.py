"""A real fleet that scales itself."""

from __future__ import annotations

import json
import re
from typing import Any

from fleet.configuration.settings import Settings
from fleet.envoy.proxy import Proxy
from fleet.scaling.reader import Counters
from harness.waiting import until
from tests.fleet.conftest import FleetCommand

FEW = "{min: 1, max: 3, in_flight: 0.01}"  # so that a small machine's load needs all three


def counts(fleet: FleetCommand) -> dict[str, int]:
    """Ready replicas by bundle, while the fleet changes too."""
    status: dict[str, Any] = json.loads(fleet.run("status").stdout)
    ready = [each["digest"] for each in status["replicas"] if each["ready"]]
    return {digest: ready.count(digest) for digest in ready}


def test_fleet_scales_itself_under_load_and_a_canary_keeps_its_share(fleet: FleetCommand) -> None:
    root = fleet.root / "fleet"
    first, second = fleet.bundles.first, fleet.bundles.second
    fleet.serve(first, 1)
    fleet("deploy", second, "--canary", "40")
    declared = root / "fleet.yaml"
    try:
        with fleet.under_load() as load:
            declared.write_text(re.sub(r"(?m)^replicas: .*$", f"replicas: {FEW}", declared.read_text()))
            until(lambda: counts(fleet) == {first: 3, second: 2}, "the autoscaler to start replicas")
            until(lambda: fleet.run("status").returncode == 0, "the fleet to be ready")
            assert fleet("status")["canary"]["percent"] == 40
            # Its decision does not edit the declaration.
            assert f"replicas: {FEW}" in declared.read_text()
            counted = Counters.parse(Proxy(Settings("", tuple, root)).counters())
            assert counted.completed > 0
            fleet("scale", "1", "1")
            assert counts(fleet) == {first: 1, second: 1}
        load.check(first, second)
        told = [json.loads(line) for line in (root / "history.jsonl").read_text().splitlines()]
        scaled = [each for each in told if each["by"] == "autoscaler"]
        assert {each["verb"] for each in scaled} == {"scale"}
        assert "the load needs" in scaled[0]["why"]
        assert "in_flight: 0.01" in declared.read_text()
        assert json.loads((root / "scaling.json").read_bytes())["replica_seconds"] > 0
    finally:
        fleet("scale", "1")
        fleet("rollback")
