"""The declared slices: figures with bounds, and each against the live model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.stages.evaluate.gates import gate
from pipelines.stages.evaluate.gates.figures import Figures
from pipelines.stages.evaluate.slices import parts, weak
from pipelines.stages.evaluate.slices.groups import SLICE, codes_of, names_of
from pipelines.stages.evaluate.slices.parts import Part
from pipelines.statistics import multiplicity
from pipelines.statistics.multiplicity import ALPHA
from pipelines.statistics.parts import Resampled, Statistic, blocks

Found = dict[str, Any]
NAME = f"{gate.LIVE} by slice"


def section(measuring: Figures) -> Found:
    """Return the section `slices` of `gates.json`."""
    given, found = measuring.given, measuring.predictions
    drawn = blocks(found.clusters, given.seed)
    slices, left_out, statistics = _slices(measuring, drawn)
    values = parts.resampled([statistic for entries in statistics for _, _, statistic in entries], measuring, drawn)
    _fill(measuring, slices, statistics, iter(values))
    margin = _margin(measuring)
    is_compared = found.unseen is not None and bool(slices)
    return {
        "fewest_rows": given.evaluate.slice_rows,
        "fewest_clusters": given.gates.clusters,
        "unit": given.unit,
        "resamples": measuring.resamples,
        "seed": given.seed,
        "margin": margin,
        "is_asked": given.gates.slice_margin is not None,
        "asked": given.gates.slices,
        "slices": slices,
        "left_out": left_out,
        "every": _every(slices, margin) if is_compared else None,
        "some": _some(slices, margin) if is_compared else None,
        "weak": weak.section(measuring),
    }


def _margin(measuring: Figures) -> float:
    """Return the margin of a slice: without one of its own, the headline's."""
    gates = measuring.given.gates
    return gates.regression_margin if gates.slice_margin is None else gates.slice_margin


def _slices(measuring: Figures, drawn: Any) -> tuple[list[Found], list[Found], list[list[tuple[str, str, Statistic]]]]:
    """Return the slices without figures, what is too small, and the statistics of each slice: its figures, and `live` last."""
    found, fewest = measuring.predictions, measuring.given.evaluate.slice_rows
    slices: list[Found] = []
    left_out: list[Found] = []
    statistics = []
    for name, groups in found.groups.items():
        if not name.startswith(SLICE):
            continue
        by, codes = name.removeprefix(SLICE), codes_of(groups)
        small: list[int] = []
        for code, value in enumerate(names_of(groups)):
            rows = np.flatnonzero(codes == code)
            if len(rows) < fewest:
                small.append(len(rows))
                continue
            part = Part(measuring, rows, drawn[rows])
            slices.append({"by": by, "value": value, "rows": len(rows), "clusters": part.clusters, "live": None})
            statistics.append(list(part.figures()))
            if found.unseen is not None and (beside := _beside(measuring, rows[found.unseen[rows]], drawn)):
                slices[-1]["live"], statistic = beside
                statistics[-1].append(("live", "", statistic))
        if small:
            left_out.append({"by": by, "values": len(small), "rows": sum(small)})
    return slices, left_out, statistics


def _beside(measuring: Figures, rows: Any, drawn: Any) -> tuple[Found, Statistic] | None:
    """Return what a comparison with the live model rests on, and its statistic; None where there are too few rows for one."""
    if len(rows) < measuring.given.evaluate.slice_rows:
        return None
    part = Part(measuring, rows, drawn[rows])
    statistic = part.difference("live")
    return None if statistic is None else ({"rows": len(rows), "clusters": part.compared_clusters}, statistic)


def _fill(
    measuring: Figures, slices: list[Found], statistics: list[list[tuple[str, str, Statistic]]], values: Any
) -> None:
    """Write figures and verdicts into the slices."""
    margin, fewest = _margin(measuring), measuring.given.gates.clusters
    measure, _ = measuring.metrics()["headline"]
    for entry, named in zip(slices, statistics, strict=True):
        found = {name: (words, next(values)) for name, words, _ in named}
        _, beside = found.pop("live", ("", None))
        entry["figures"] = parts.with_values(found)
        entry["live"] = (
            None
            if beside is None
            else entry["live"] | _compared(measure, beside, entry["live"]["clusters"], margin, fewest)
        )
    tested = [entry["live"] for entry in slices if entry["live"] and entry["live"]["clusters"] >= fewest]
    for live, corrected in zip(tested, multiplicity.holm([live["p_worse"] for live in tested]), strict=True):
        live |= {"p_holm": corrected, "is_worse": corrected <= ALPHA}


def _compared(measure: str, found: Resampled, clusters: int, margin: float, fewest: int) -> Found:
    bounds, drawn, is_tested = parts.bounded(measure, found), found.figures, clusters >= fewest
    return {
        **bounds,
        "p_worse": multiplicity.p_below(drawn, -margin, clusters) if is_tested else None,
        "p_holm": None,
        "is_worse": False,
        "detectable": multiplicity.detectable(drawn, clusters) if is_tested else None,
        "verdict": gate.better_by({**bounds, "clusters": clusters}, margin, fewest)["verdict"],
    }


def _every(slices: Sequence[Found], margin: float) -> Found:
    """Return the verdict on *every slice is non-inferior*: an intersection, whose tests need no correction."""
    found = [entry["live"]["verdict"] if entry["live"] else gate.UNDECIDED for entry in slices]
    count = {name: found.count(name) for name in (gate.PASSED, gate.FAILED, gate.UNDECIDED)}
    shown = sorted(live["detectable"] for live in _tested(slices))
    power = (
        f"A slice of middling size shows a difference of {shown[len(shown) // 2]:.3g} with power {multiplicity.POWER:g}; "
        f"{sum(size <= margin for size in shown)} of {len(found)} could show one of {margin:g}."
        if shown
        else "No slice has enough rows and clusters to show any difference."
    )
    told = (
        f"Of {len(found)} slices {count[gate.PASSED]} are shown to lose less than {margin:g} against the live model, {count[gate.FAILED]} "
        f"to lose more, {count[gate.UNDECIDED]} are undecided"
    )
    return {
        "verdict": gate.FAILED if count[gate.FAILED] else gate.UNDECIDED if count[gate.UNDECIDED] else gate.PASSED,
        "slices": len(found),
        **count,
        "sentence": f"Is every slice non-inferior? {told}. Each is tested with 95 % confidence; all have to pass, so their number needs no "
        f"correction. {power}",
    }


def _some(slices: Sequence[Found], margin: float) -> Found:
    """Return the verdict on *some slice is worse*: a union, whose tests are corrected for their number.

    It passes only where more slices are shown not to be worse than are shown to be, without the correction: tests without power
    show nothing, and several doubtful slices are no chance.
    """
    tested = _tested(slices)
    worse = [f"{entry['by']} {entry['value']}" for entry in slices if entry["live"] and entry["live"]["is_worse"]]
    found = [live["verdict"] for live in tested]
    is_shown = found.count(gate.PASSED) > found.count(gate.FAILED)
    loses = f"lose{'s' if len(worse) == 1 else ''} more than {margin:g}"
    told = f"{', '.join(worse)} {loses}" if worse else f"None is shown to lose more than {margin:g}"
    return {
        "verdict": gate.FAILED if worse else gate.PASSED if is_shown else gate.UNDECIDED,
        "worse": worse,
        "tests": len(tested),
        "sentence": f"Is some slice worse than the live model? {told}, by Holm's correction over {len(tested)} tests "
        f"({100 * ALPHA:g} % for all together).",
    }


def _tested(slices: Sequence[Found]) -> list[Found]:
    return [entry["live"] for entry in slices if entry["live"] and entry["live"]["detectable"] is not None]


def checks(found: Mapping[str, Any]) -> list[gate.Check]:
    """Return the check of the slices against the live model, in a list; none where it is not asked for."""
    asked, margin, fewest = found[found["asked"]], found["margin"], found["fewest_clusters"]
    if not found["is_asked"] or asked is None:
        return []
    beside = [entry for entry in found["slices"] if entry["live"]]
    if found["asked"] == "some":
        # Those over too few clusters have no p-value, and are told only where there are no others.
        worst = min(beside, key=lambda entry: _suspicion(entry["live"]), default=None)
        asks = f"no slice shown to lose more than {margin:g} (Holm, {asked['tests']} tests)"
    else:
        worst = min(beside, key=lambda entry: entry["live"]["lower_bound"], default=None)
        asks = (
            f"a lower bound above {-margin:g} in each of {asked['slices']} slices ({asked[gate.UNDECIDED]} undecided)"
        )
    if worst is None:
        because = f"no slice has {found['fewest_rows']} rows of each kind that a comparison needs"
        return [{"name": NAME, **gate.without_figure(because, asks, fewest)}]
    shown = worst["live"]
    return [
        {
            "name": NAME,
            "verdict": asked["verdict"],
            "asks": asks,
            "margin": margin,
            "fewest": fewest,
            "is_difference": True,
            **{name: shown[name] for name in ("figure", "lower_bound", "upper_bound", "rows", "clusters")},
            "measure": f"{shown['measure']} ({worst['by']} {worst['value']})",
            **{name: found[name] for name in ("unit", "resamples", "seed")},
        }
    ]


def _suspicion(live: Mapping[str, Any]) -> tuple[bool, bool, float, float]:
    """Return what orders slices: the largest loss of those that are shown to be worse, else the smallest p-value."""
    p_value = 0.0 if live["is_worse"] or live["p_worse"] is None else live["p_worse"]
    return live["p_worse"] is None, not live["is_worse"], p_value, live["figure"]
