"""Runs: the stages that ran, and those that DVC took from its cache, with what they cost when they last ran. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import PurePath
from typing import Any

from pipelines.commands.costs.ledger import Cost, Outcome, Process

_PROCESS = re.compile(r"[0-9a-f]{8}-\d+-\d+")  # a run without a name of its own has that of its process


@dataclass(frozen=True)
class Run:
    """A run: `spent` by the stage that ran, `saved` by the stage that was cached; None if it never ran here.

    `label` is the command, or the name of the run in Airflow.
    """

    name: str
    label: str
    started: str
    outcome: Outcome
    spent: Mapping[str, Cost]
    saved: Mapping[str, Cost | None]

    @property
    def total(self) -> Cost:
        """The cost of the stages that ran."""
        return total(self.spent.values())

    @property
    def total_saved(self) -> Cost:
        """The cost of the stages that were cached."""
        return total(cost for cost in self.saved.values() if cost)


@dataclass(frozen=True)
class Graph:
    """The stages of `dvc.yaml`, with the items of `foreach` as stages of their own, and the stages upstream of each."""

    upstream: Mapping[str, frozenset[str]]

    def needed(self, stages: Iterable[str]) -> list[str]:
        """Return these stages, `collect` for all its months, and all upstream of them, in the order of `dvc.yaml`."""
        asked = {name for name in self.upstream for stage in stages if stage in (name, base(name))}
        found = asked.union(*(self.upstream[name] for name in asked))
        return [name for name in self.upstream if name in found]


def names(found: Iterable[Run], stages: Graph) -> list[str]:
    """Return the stages of some runs in the order of `dvc.yaml`, and other commands after them."""
    seen = {base(stage): None for run in found for stage in (*run.spent, *run.saved)}
    ordered = {base(stage): None for stage in stages.upstream}
    return [*(name for name in ordered if name in seen), *(name for name in seen if name not in ordered)]


def whole(found: Sequence[Run]) -> Cost | None:
    """Return the cost of the newest `dvc repro` of everything had nothing been cached; None if there was none that succeeded."""
    runs_of_all = (
        run for run in reversed(found) if run.outcome == "succeeded" and "bundle" in {*run.spent, *run.saved}
    )
    newest = next(runs_of_all, None)
    return newest.total + newest.total_saved if newest else None


def total(costs: Iterable[Cost]) -> Cost:
    """Return the sum; the peak is the largest one."""
    return reduce(Cost.__add__, costs, Cost())


def base(stage: str) -> str:
    """Return the name in `dvc.yaml` of a stage such as `collect@2013-01`."""
    return stage.split("@")[0]


def graph(stages: Mapping[str, Any], months: Sequence[str]) -> Graph:
    """Return the graph of the stages in `dvc.yaml`; a `foreach` of it goes over the months."""
    items = {
        (f"{name}@{month}" if "foreach" in stage else name): _paths(stage.get("do", stage), month)
        for name, stage in stages.items()
        for month in (months if "foreach" in stage else [""])
    }
    upstream: dict[str, frozenset[str]] = {}
    for name, (inputs, _) in items.items():
        direct = [other for other, (_, outputs) in items.items() if other != name and _touch(inputs, outputs)]
        upstream[name] = frozenset(direct).union(*(upstream.get(other, frozenset()) for other in direct))
    return Graph(upstream)


def _paths(stage: Mapping[str, Any], month: str) -> tuple[list[PurePath], list[PurePath]]:
    listed = [*stage.get("outs", ()), *stage.get("metrics", ())]
    outputs = [next(iter(entry)) if isinstance(entry, Mapping) else entry for entry in listed]
    return [PurePath(path) for path in stage.get("deps", ())], [
        PurePath(path.replace("${item}", month)) for path in outputs
    ]


def _touch(inputs: Collection[PurePath], outputs: Collection[PurePath]) -> bool:
    return any(one.is_relative_to(other) or other.is_relative_to(one) for one in inputs for other in outputs)


def runs(processes: Sequence[Process], stages: Graph) -> list[Run]:
    """Return the runs, in the order of their starts.

    A stage was cached in a run if the run needed it and did not run it. A run needs its targets and the stages that it ran, with all
    upstream of them; a run that failed did not reach the rest of its targets.
    """
    grouped: dict[str, list[Process]] = {}
    for process in processes:
        grouped.setdefault(process.run, []).append(process)
    last: dict[str, Cost] = {}
    made = []
    for name, members in grouped.items():
        outcome = _outcome(members)
        spent: dict[str, Cost] = {}
        for process in members:
            spent[process.stage] = spent.get(process.stage, Cost()) + process.cost
        saved = {stage: last.get(stage) for stage in _needed(members, outcome, stages) if stage not in spent}
        last |= {process.stage: process.cost for process in members if process.outcome == "succeeded"}
        made.append(Run(name, _label(members), members[0].started, outcome, spent, saved))
    return made


def _label(members: Sequence[Process]) -> str:
    first = members[0]
    if not _PROCESS.fullmatch(first.run):
        return first.run
    return first.stage if first.targets is None else " ".join(("dvc repro", *first.targets))


def _needed(members: Sequence[Process], outcome: Outcome, stages: Graph) -> list[str]:
    asked = [process.targets for process in members if process.targets is not None]
    if not asked:
        return []  # started by hand: what it reads was not asked for
    reached = {process.stage for process in members}
    if outcome == "succeeded":
        reached |= set(stages.upstream) if () in asked else {target for targets in asked for target in targets}
    return stages.needed(reached)


def _outcome(members: Sequence[Process]) -> Outcome:
    """Return that of the last attempt of each stage, the worst of them."""
    found = {process.stage: process.outcome for process in members}.values()
    order: tuple[Outcome, ...] = ("running", "failed", "killed", "succeeded")
    return next(outcome for outcome in order if outcome in found)
