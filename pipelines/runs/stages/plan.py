"""The commands of DVC that run the stages of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from contract.errors import ConfigurationError
from pipelines.runs import graph as compiled

_REPRO = ("dvc", "--wait-for-lock", "repro")


def commands(stages: Sequence[str], root: Path, *, again: Sequence[str], force: bool, dry_run: bool) -> list[list[str]]:
    """Return the commands, of which each needs the one before.

    Stages in `again` run first, although nothing changed. With `force` all stages of the DAG do; what they need of other DAGs runs only
    if it changed.

    Raises:
        ConfigurationError: with `force`, the compiled graph is missing or broken, or lacks a stage.
    """
    options = ["--keep-going"] if dry_run else []  # all that would run, not only the first
    first = [[*_REPRO, *options, "--force", "--single-item", *again]] if again else []
    if not force:
        return [*first, [*_REPRO, *options, *stages]]
    graph = compiled.stages(root, stages)
    own = _ordered({name for name in graph if graph[name]["dag"] in {graph[stage]["dag"] for stage in stages}}, graph)
    before = {upstream for name in own for upstream in graph[name]["upstream"]} - set(own) or compiled.WITHOUT_TASK
    return [*first, [*_REPRO, *options, *sorted(before)], [*_REPRO, *options, "--force", "--single-item", *own]]


def require(stages: Sequence[str], root: Path) -> None:
    """Raise ConfigurationError for a name that is no stage of the run's `dvc.yaml`."""
    known = yaml.safe_load((root / "dvc.yaml").read_bytes())["stages"]
    if unknown := [name for name in stages if name.split("@")[0] not in known]:
        raise ConfigurationError(f"dvc.yaml has no stage {', '.join(unknown)}; its stages are {', '.join(known)}")


def needed(stages: Sequence[str], root: Path) -> set[str]:
    """Return the stages and all upstream of them.

    Raises:
        ConfigurationError: the compiled graph is missing or broken.
    """
    graph, found = compiled.stages(root), set(stages)
    while more := {upstream for name in found & graph.keys() for upstream in graph[name]["upstream"]} - found:
        found |= more
    return found


def _ordered(names: set[str], graph: Mapping[str, Any]) -> list[str]:
    """Return the stages, each after those that it needs."""
    ordered: list[str] = []
    while left := sorted(names - set(ordered)):
        ordered += [name for name in left if not set(graph[name]["upstream"]) & set(left)]
    return ordered
