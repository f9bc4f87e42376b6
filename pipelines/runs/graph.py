"""The graph of `dvc.yaml`, compiled into a small JSON file that Airflow can read at every parse without DVC."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contract.errors import ConfigurationError
from contract.files import canonical_json, write_atomically
from pipelines.runs import months

FILE_NAME = "dags/graph.json"
# A DAG owns its last stage, and of what that stage needs everything that no DAG before it owns.
LAST_STAGES = {"collect_and_validate": "validate", "train_and_evaluate": "evaluate", "bundle_and_deploy": "bundle"}


def compile_graph(project: Path, *, open_ended: bool) -> dict[str, Any]:
    """Stage names with the names of the stages directly before them and the DAG that owns them, and the months to schedule.

    Args:
        open_ended: whether new months go on arriving; else the schedule ends with the last one that `params.yaml` lists.

    Raises:
        ConfigurationError: a stage that no DAG owns, or a DAG without its last stage.
    """
    upstream = _upstream_names(project)
    owners = _owners(upstream)
    listed = months.read(project / "params.yaml")
    return {
        "months": {"first": listed[0], "last": None if open_ended else listed[-1]},
        "stages": {name: {"dag": owners[name], "upstream": sorted(upstream[name])} for name in sorted(upstream)},
    }


def write(project: Path, *, open_ended: bool) -> Path:
    path = project / FILE_NAME
    write_atomically(path, canonical_json(compile_graph(project, open_ended=open_ended)))
    return path


def is_current(project: Path) -> bool:
    """Whether the committed graph is what `dvc.yaml` and `params.yaml` say."""
    path = project / FILE_NAME
    if not path.is_file():
        return False
    graph = json.loads(path.read_bytes())
    open_ended: bool = graph["months"]["last"] is None
    return bool(graph == compile_graph(project, open_ended=open_ended))


def _upstream_names(project: Path) -> dict[str, set[str]]:
    """DVC's own graph, with the items of a `foreach` stage folded into one."""
    from dvc.repo import Repo

    with Repo(str(project)) as repo:
        graph = repo.index.graph
        names: dict[str, set[str]] = {_name(stage): set() for stage in graph.nodes}
        for stage, needed in graph.edges:
            if _name(stage) != _name(needed):
                names[_name(stage)].add(_name(needed))
    return names


def _name(stage: Any) -> str:
    return str(stage.name).split("@")[0]


def _owners(upstream: Mapping[str, set[str]]) -> dict[str, str]:
    owners: dict[str, str] = {}
    for dag, last in LAST_STAGES.items():
        if last not in upstream:
            raise ConfigurationError(f"dvc.yaml has no stage {last!r}, with which the DAG {dag} ends")
        for name in _closure(last, upstream):
            owners.setdefault(name, dag)
    if orphans := sorted(set(upstream) - set(owners)):
        raise ConfigurationError(f"nothing needs the stages {', '.join(orphans)} of dvc.yaml: no DAG would run them")
    return owners


def _closure(stage: str, upstream: Mapping[str, set[str]]) -> set[str]:
    return {stage}.union(*(_closure(name, upstream) for name in upstream[stage]))
