"""The rules for Prometheus: each alert rises when it is to, and at no other time."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from harness import PROJECT


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "rules", "fleet/monitoring/grafana/rules.yaml", "fleet/monitoring/grafana/fleet_rules.yaml"],
        ["test", "rules", "tests/fleet/monitoring/rules_test.yaml"],
        ["test", "rules", "tests/fleet/monitoring/fleet_rules_test.yaml"],
    ],
)
def test_rules_are_what_prometheus_takes_and_do_what_they_are_to(arguments: list[str]) -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed: Debian has it in prometheus")
    done = subprocess.run(["promtool", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
