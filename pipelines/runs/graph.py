"""The graph of `dvc.yaml`, compiled into a small JSON file that Airflow parses without DVC."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from contract.errors import ConfigurationError
from contract.files import canonical_json, write_atomically
from pipelines.runs import months

FILE_NAME = "dags/graph.json"
# Run with their next stage, for a task of their own would take longer than they do.
WITHOUT_TASK = {"declare"}
# A DAG owns its last stage, and everything upstream that no earlier DAG owns.
LAST_STAGES = {"collect_and_validate": "validate", "train_and_evaluate": "evaluate", "bundle_and_deploy": "bundle"}


def compile_graph(project: Path, *, open_ended: bool, catch_up_from: str | None = None) -> dict[str, Any]:
    """Return the DAG and the direct upstream of every stage, and the months to schedule.

    Args:
        open_ended: if true, new months will arrive; else the schedule ends with the last one in `params.yaml`.
        catch_up_from: the first month that is scheduled even if it is long over; None: months that were missed are not made up for.

    Raises:
        ConfigurationError: no DAG owns a stage, the last stage of a DAG is missing, or `catch_up_from` is no month of the schedule.
    """
    upstream = _upstream_names(project)
    owners = _owners(upstream)
    listed = months.read(project / "params.yaml")
    if catch_up_from:
        months.span(listed[0], catch_up_from)
    scheduled = {"first": listed[0], "last": None if open_ended else listed[-1], "catch_up_from": catch_up_from}
    return {
        "months": scheduled,
        "stages": {name: {"dag": owners[name], "upstream": sorted(upstream[name])} for name in sorted(upstream)},
    }


def write(project: Path, *, open_ended: bool, catch_up_from: str | None = None) -> Path:
    """Write the compiled graph and return its path."""
    path = project / FILE_NAME
    compiled = compile_graph(project, open_ended=open_ended, catch_up_from=catch_up_from)
    write_atomically(path, canonical_json(compiled))
    return path


def is_current(project: Path) -> bool:
    """Return whether the committed graph matches `dvc.yaml` and `params.yaml`; a missing or broken one does not."""
    try:
        graph = json.loads((project / FILE_NAME).read_bytes())
        open_ended: bool = graph["months"]["last"] is None
        catch_up_from = graph["months"]["catch_up_from"]
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return False
    return bool(graph == compile_graph(project, open_ended=open_ended, catch_up_from=catch_up_from))


def stages(checkout: Path, named: Iterable[str] = ()) -> dict[str, Any]:
    """Return the DAG and the direct upstream of every stage, as compiled in a checkout.

    Raises:
        ConfigurationError: the file is missing or broken, or lacks one of the named stages.
    """
    path = checkout / FILE_NAME
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())["stages"]
        if not all({"dag", "upstream"} <= stage.keys() for stage in found.values()):
            raise ValueError("a stage lacks its DAG or its upstream")
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError) as error:
        what = "missing" if isinstance(error, FileNotFoundError) else f"broken ({error!r})"
        raise ConfigurationError(
            f"{path} is {what}: write it with `python -m pipelines.runs compile` in the project, commit it, and open another run"
        ) from error
    if unknown := set(named) - found.keys():
        raise ConfigurationError(
            f"{path} lacks {', '.join(sorted(unknown))}; it has the stages {', '.join(sorted(found))}. If dvc.yaml has more, write it "
            "anew with `python -m pipelines.runs compile`"
        )
    return found


def _upstream_names(project: Path) -> dict[str, set[str]]:
    """Return DVC's own graph, with the items of a `foreach` stage merged into one.

    Raises:
        ConfigurationError: DVC cannot read it.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with Repo(str(project)) as repo:
        try:
            graph = repo.index.graph
        except DvcException as error:
            raise ConfigurationError(
                f"{project / 'dvc.yaml'} or its params.yaml is wrong: {' '.join(str(error).split())}"
            ) from error
        names: dict[str, set[str]] = {_name(stage): set() for stage in graph.nodes if _name(stage) not in WITHOUT_TASK}
        for stage, needed in graph.edges:
            if _name(stage) != _name(needed) and _name(needed) not in WITHOUT_TASK:
                names[_name(stage)].add(_name(needed))
    return names


def _name(stage: Any) -> str:
    return str(stage.name).split("@")[0]


def _owners(upstream: Mapping[str, set[str]]) -> dict[str, str]:
    owners: dict[str, str] = {}
    for dag, last in LAST_STAGES.items():
        if last not in upstream:
            raise ConfigurationError(f"dvc.yaml has no stage {last!r}, the last one of the DAG {dag}")
        for name in _closure(last, upstream):
            owners.setdefault(name, dag)
    if orphans := sorted(set(upstream) - set(owners)):
        raise ConfigurationError(
            f"the stages {', '.join(orphans)} of dvc.yaml are orphaned: no DAG would run them; let another stage depend on them"
        )
    return owners


def _closure(stage: str, upstream: Mapping[str, set[str]]) -> set[str]:
    return {stage}.union(*(_closure(name, upstream) for name in upstream[stage]))
