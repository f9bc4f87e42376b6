"""Protected groups: rates, errors and calibration of each with bounds, and the gaps between them.

Source: Hardt, Price, Srebro 2016, Equality of Opportunity in Supervised Learning (rates of true and false positives); Kleinberg,
Mullainathan, Raghavan 2016, Inherent Trade-Offs in the Fair Determination of Risk Scores (not all gaps can be closed).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from pipelines.data.clusters import Clusters
from pipelines.params.judging.gates import Gates
from pipelines.stages.evaluate.gates import gate
from pipelines.stages.evaluate.gates.figures import Figures
from pipelines.stages.evaluate.slices import parts
from pipelines.stages.evaluate.slices.groups import PROTECTED, codes_of, names_of
from pipelines.stages.evaluate.slices.parts import Part
from pipelines.statistics import multiplicity
from pipelines.statistics.multiplicity import ALPHA
from pipelines.statistics.parts import Resampled, Statistic, blocks

Found = dict[str, Any]


@dataclass(frozen=True)
class Group:
    """One group, and its figures by name: the words, the statistic, and what was resampled."""

    name: str
    part: Part
    figures: Mapping[str, tuple[str, Statistic, Resampled]]


@dataclass(frozen=True)
class Pair:
    """The gap between two groups, 0 or more as measured."""

    between: tuple[str, str]
    clusters: int
    rows: int
    bounds: Mapping[str, float]
    p_larger: float | None  # of the hypothesis that the gap is at most the limit; None over too few clusters


def section(measuring: Figures) -> list[Found]:
    """Return the section `fairness` of `gates.json`: an entry for each protected column."""
    found = measuring.predictions
    drawn = blocks(found.clusters, measuring.given.seed)
    return [
        _column(measuring, name.removeprefix(PROTECTED), groups, drawn)
        for name, groups in found.groups.items()
        if name.startswith(PROTECTED)
    ]


def checks(found: Sequence[Mapping[str, Any]], gates: Gates) -> list[gate.Check]:
    """Return the check of each gap that has a limit, in every protected column."""
    return [
        check
        for entry in found
        for name, limit in gates.fairness_gap.items()
        for check in _checks(entry, name, limit, gates)
    ]


def _checks(entry: Mapping[str, Any], name: str, limit: float, gates: Gates) -> Iterator[gate.Check]:
    asks = f"a gap of at most {limit:g} between any two groups"
    gaps = {
        key: gap for key, gap in entry["gaps"].items() if key.split(":")[0] == name
    }  # of many labels, a rate for each
    if not gaps:
        because = f"fewer than two groups have the rows that the {name.replace('_', ' ')} needs"
        yield {"name": _title(entry, name), **gate.without_figure(because, asks, gates.clusters)}
    for key, gap in gaps.items():
        evidence = {at: value for at, value in gap.items() if at not in ("limit", "between")}
        shared = {"asks": asks, "margin": limit, "fewest": gates.clusters, "is_difference": False}
        yield {"name": _title(entry, key), **shared, **evidence}


def _title(entry: Mapping[str, Any], name: str) -> str:
    return f"fair by {entry['column']}, {name.replace('_', ' ')}"


def _column(measuring: Figures, column: str, groups: Any, drawn: Clusters) -> Found:
    names, codes, fewest = names_of(groups), codes_of(groups), measuring.given.evaluate.slice_rows
    rows = [np.flatnonzero(codes == code) for code in range(len(names))]
    judged = [
        (name, Part(measuring, each, drawn[each]))
        for name, each in zip(names, rows, strict=True)
        if len(each) >= fewest
    ]
    named = [[*part.answers(), *part.gaps()] for _, part in judged]
    values = iter(parts.resampled([statistic for each in named for _, _, statistic in each], measuring, drawn))
    found = [
        Group(name, part, {key: (words, of, each) for key, words, of in entries if (each := next(values)) is not None})
        for (name, part), entries in zip(judged, named, strict=True)
    ]
    return {
        "column": column,
        "groups": [
            {
                "value": group.name,
                "rows": len(group.part.rows),
                "clusters": group.part.clusters,
                "figures": {name: parts.bounded(words, each) for name, (words, _, each) in group.figures.items()},
            }
            for group in found
        ],
        "left_out": {"values": len(rows) - len(judged), "rows": sum(len(each) for each in rows if len(each) < fewest)},
        "gaps": _gaps(measuring, found, drawn),
    }


def _gaps(measuring: Figures, groups: Sequence[Group], drawn: Clusters) -> dict[str, Found]:
    """Return the gap of each figure that two groups have."""
    limits: Mapping[str, float] = {str(name): limit for name, limit in measuring.given.gates.fairness_gap.items()}
    words = {name: said for group in groups for name, (said, _, _) in group.figures.items()}
    pairs = [
        (name, one, other)
        for name in words
        for one, other in combinations([group for group in groups if name in group.figures], 2)
    ]
    gaps = [one.figures[name][1] - other.figures[name][1] for name, one, other in pairs]
    found: dict[str, list[Pair]] = {}
    for (name, one, other), resampled in zip(pairs, parts.resampled(gaps, measuring, drawn), strict=True):
        if resampled is not None:
            pair = _pair(measuring, resampled, one, other, limits.get(name.split(":")[0]))
            found.setdefault(name, []).append(pair)
    return {name: _gap(measuring, words[name], among, limits.get(name.split(":")[0])) for name, among in found.items()}


def _pair(measuring: Figures, found: Resampled, one: Group, other: Group, limit: float | None) -> Pair:
    if found.figures[0] < 0:
        one, other, found = other, one, Resampled(-found.figures, -found.bounds)
    clusters = min(one.part.clusters, other.part.clusters)
    is_tested = limit is not None and clusters >= measuring.given.gates.clusters
    return Pair(
        (one.name, other.name),
        clusters,
        len(one.part.rows) + len(other.part.rows),
        parts.bounded("", found),
        multiplicity.p_below(-found.figures, -(limit or 0.0), clusters) if is_tested else None,
    )


def _gap(measuring: Figures, words: str, pairs: Sequence[Pair], limit: float | None) -> Found:
    """Return the pair that decides: one shown to be too far apart, else the one that may be the farthest.

    Every pair has to be near enough, each with 95 % confidence, which needs no correction; that some pair is not is corrected by Holm.
    """
    verdict, shown = "reported", max(pairs, key=lambda pair: pair.bounds["figure"])
    if limit is not None:
        tested = [pair for pair in pairs if pair.p_larger is not None]
        corrected = multiplicity.holm([pair.p_larger for pair in tested if pair.p_larger is not None])
        far = [
            (p_value, index)
            for index, p_value in enumerate(corrected)
            if p_value <= ALPHA and tested[index].bounds["lower_bound"] > limit  # rare shares: bounds know more
        ]
        is_near = all(pair.bounds["upper_bound"] <= limit and pair.bounds["lower_bound"] >= -limit for pair in pairs)
        if far:
            verdict, shown = gate.FAILED, tested[min(far)[1]]
        else:
            verdict = gate.PASSED if is_near and len(tested) == len(pairs) else gate.UNDECIDED
            shown = max(pairs, key=lambda pair: pair.bounds["upper_bound"])
            shown = min(pairs, key=lambda pair: pair.clusters) if len(tested) < len(pairs) else shown
    return {
        **shown.bounds,
        "measure": f"gap in {words}, {shown.between[0]} and {shown.between[1]}",
        "between": list(shown.between),
        "limit": limit,
        "verdict": verdict,
        "unit": measuring.given.unit,
        "clusters": shown.clusters,
        "rows": shown.rows,
        "resamples": measuring.resamples,
        "seed": measuring.given.seed,
    }
