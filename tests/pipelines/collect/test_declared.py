"""Keys of `params.yaml` as files: a change reaches what depends on it, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import paths
from pipelines.stages.declare import stage


def _declared(raw: dict[str, Any]) -> dict[str, bytes]:
    paths.PARAMS.write_text(yaml.safe_dump(raw, sort_keys=False))
    stage.run()
    return {path.name: path.read_bytes() for path in stage.KEYS}


@pytest.mark.parametrize(
    ("section", "key", "value", "changed"),
    [
        ("data", "months", ["2026-01"], set()),
        ("data", "time", "ordered", {"declared.json"}),
        ("target", "task", "multiclass", {"declared.json"}),
        ("target", "threshold", 0.3, set()),
        ("features", "distance", {"transform": "value"}, {"declared_features.json"}),
        ("costs", "cpu_hour", 7, set()),
    ],
)
def test_a_change_reaches_the_file_that_has_its_key(
    workspace: Path, raw: dict[str, Any], section: str, key: str, value: Any, changed: set[str]
) -> None:
    raw["features"].pop("distance", None)
    before = _declared(raw)
    raw.setdefault(section, {})[key] = value
    after = _declared(raw)
    assert {name for name in before if before[name] != after[name]} == changed


def test_order_and_comments_reach_no_file(workspace: Path, raw: dict[str, Any]) -> None:
    before = _declared(raw)
    paths.PARAMS.write_text(f"# a comment\n{yaml.safe_dump(raw, sort_keys=True)}")
    stage.run()
    assert {path.name: path.read_bytes() for path in stage.KEYS} == before
