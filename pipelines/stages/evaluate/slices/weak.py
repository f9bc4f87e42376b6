"""Weak slices: searched for on one half of the clusters, tested on the other.

The search is exhaustive over the values of one column and of two, and ranks slices by their effect in standard errors: one count for each
pair of columns finds all their slices. The package `sliceline` would be one more dependency for this; it weighs size against effect by
a factor that nobody can choose, and multiplies matrices whose last bits depend on the processor. Source: Chung, Kraska, Polyzotis, Tae,
Whang 2019, Slice Finder: Automated Data Slicing for Model Validation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.stages.evaluate.gates.figures import Figures
from pipelines.stages.evaluate.slices import parts
from pipelines.stages.evaluate.slices.groups import SEARCHED, codes_of, names_of
from pipelines.statistics import multiplicity
from pipelines.statistics.multiplicity import ALPHA
from pipelines.statistics.parts import Statistic, blocks, mean

Codes = NDArray[np.int64]
WEAK, NOT_CONFIRMED, UNDECIDED = "weak", "not confirmed", "undecided"
_SMALLEST, _LARGEST = 0.01, 0.5  # share of the rows; a larger part is no slice
_PAIRED = 30  # columns that are crossed, those whose own slices are the weakest
_OVERLAP = 0.5  # a slice that shares more of its rows with a weaker one is left out
_CONSIDERED = 200
_UNTESTED = dict.fromkeys(("loss", "elsewhere", "difference", "p", "p_holm")) | {"verdict": UNDECIDED}


@dataclass(frozen=True)
class Candidate:
    """Rows that share the values of one column or of two, by code."""

    score: float
    columns: tuple[int, ...]
    codes: tuple[int, ...]

    def rows(self, columns: Sequence[Codes]) -> NDArray[np.bool_]:
        """Return the mask of its rows."""
        masks = [columns[column] == code for column, code in zip(self.columns, self.codes, strict=True)]
        mask: NDArray[np.bool_] = np.logical_and.reduce(masks)
        return mask


def section(measuring: Figures) -> dict[str, Any] | None:
    """Return the weak slices that were found, each with its test on the other half; None where nothing is searched."""
    found, evaluate = measuring.predictions, measuring.given.evaluate
    groups = {name.removeprefix(SEARCHED): each for name, each in found.groups.items() if name.startswith(SEARCHED)}
    if not groups or not evaluate.weak_slices:
        return None
    columns = [codes_of(each) for each in groups.values()]
    losses = measuring.judged.losses(found.outcomes, found.scores["model"])
    is_searched = _half(found.clusters, measuring.given.seed)
    searched, tested = np.flatnonzero(is_searched), np.flatnonzero(~is_searched)
    candidates, tried = search(
        losses[searched],
        [codes[searched] for codes in columns],
        found.clusters[searched],
        most=evaluate.weak_slices,
        fewest=evaluate.slice_rows,
        few=(measuring.given.gates.clusters + 1) // 2,
    )
    names = [(name, names_of(each)) for name, each in groups.items()]
    shown = [
        {
            "value": " and ".join(
                f"{names[at][0]} {names[at][1][code]}" for at, code in zip(each.columns, each.codes, strict=True)
            )
        }
        for each in candidates
    ]
    _test(measuring, shown, [each.rows(columns) for each in candidates], losses, tested)
    count = sum(entry["verdict"] == WEAK for entry in shown)
    half, many = f"one half of the {measuring.given.unit}", f"{tried:,} slices of one column or two"
    confirmed = f"{count} {'is' if count == 1 else 'are'} weak there too (Holm, {100 * ALPHA:g} % for all together)"
    return {
        "measure": f"mean {parts.loss_name(measuring)}",
        "tried": tried,
        "columns": list(groups),
        "searched": _size(found.clusters, searched),
        "tested": _size(found.clusters, tested),
        "found": shown,
        "sentence": f"Of {many}, the {len(shown)} with the largest losses on {half} were tested on the other half: {confirmed}."
        if shown
        else f"Of {many}, none has a larger loss than all rows on {half}.",
    }


def search(
    losses: NDArray[np.float64], columns: Sequence[Codes], clusters: Codes, *, most: int, fewest: int, few: int
) -> tuple[list[Candidate], int]:
    """Return the weakest slices, the weakest first, and the number of those that are large enough.

    Args:
        losses: of the rows, 0 or more.
        columns: code of the value of each row, by column.
        fewest: rows of a slice.
        few: clusters of a slice.
    """
    if not len(losses) or losses.min() == losses.max():
        return [], 0
    smallest = max(fewest, int(np.ceil(_SMALLEST * len(losses))))
    common = [_common(codes, smallest) for codes in columns]
    single = [list(_scored(losses, [codes], (at,), smallest)) for at, codes in enumerate(common)]
    weakest = sorted(
        range(len(common)), key=lambda at: (-max((each.score for each in single[at]), default=-np.inf), at)
    )
    pairs = combinations(sorted(weakest[:_PAIRED]), 2)
    every = [each for found in single for each in found]
    for pair in pairs:
        every += _scored(losses, [common[at] for at in pair], pair, smallest)
    ranked = sorted(
        (each for each in every if each.score > 0), key=lambda each: (-each.score, each.columns, each.codes)
    )
    kept: list[Candidate] = []
    masks: list[NDArray[np.bool_]] = []
    for each in ranked[:_CONSIDERED]:
        mask = each.rows(columns)
        if len(np.unique(clusters[mask])) < few:
            continue
        if all((mask & other).sum() <= _OVERLAP * (mask | other).sum() for other in masks):
            kept, masks = [*kept, each], [*masks, mask]
        if len(kept) == most:
            break
    return kept, len(every)


def _common(codes: Codes, smallest: int) -> Codes:
    """Return the codes with -1 for the values of too few rows."""
    counts = np.bincount(codes)
    return np.where(counts[codes] >= smallest, codes, -1)


def _scored(
    losses: NDArray[np.float64], columns: Sequence[Codes], at: tuple[int, ...], smallest: int
) -> Iterator[Candidate]:
    """Yield all slices of these columns that are large enough, with the excess of their loss in standard errors of rows."""
    known = np.logical_and.reduce([codes >= 0 for codes in columns])
    sizes = [int(codes.max()) + 1 for codes in columns]
    if min(sizes) < 1:
        return
    cells = columns[0][known] if len(columns) == 1 else columns[0][known] * sizes[1] + columns[1][known]
    counts, sums = np.bincount(cells), np.bincount(cells, losses[known])
    whole, spread = float(losses.mean()), float(losses.std())
    for cell in np.flatnonzero((counts >= smallest) & (counts <= _LARGEST * len(losses))).tolist():
        count = int(counts[cell])
        score = (float(sums[cell]) / count - whole) * count**0.5 / spread
        yield Candidate(score, at, (cell,) if len(columns) == 1 else divmod(cell, sizes[1]))


def _half(clusters: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Return the mask of the rows in one half of the clusters, drawn at random."""
    count = int(clusters.max()) + 1
    found: NDArray[np.bool_] = (np.random.default_rng(seed).permutation(count) % 2 == 0)[clusters]
    return found


def _test(
    measuring: Figures,
    shown: list[dict[str, Any]],
    masks: list[NDArray[np.bool_]],
    losses: NDArray[np.float64],
    tested: Codes,
) -> None:
    """Write the test of each slice into it: its mean loss less that of all other rows."""
    given = measuring.given
    clusters = np.unique(measuring.predictions.clusters[tested], return_inverse=True)[1].astype(np.int64)
    if not shown or not len(tested):
        for entry in shown:
            entry |= _UNTESTED | {"rows": 0, "clusters": 0}
        return
    drawn, inside = blocks(clusters, given.seed), [mask[tested] for mask in masks]
    named = [_sides(losses[tested], mask, drawn, measuring.judged.largest) for mask in inside]
    resampled = iter(parts.resampled([statistic for each in named for statistic in each], measuring, drawn))
    p_values = []
    for entry, mask, sides in zip(shown, inside, named, strict=True):
        within, elsewhere, beyond = (next(resampled) for _ in sides)
        count = len(np.unique(clusters[mask]))
        entry |= _UNTESTED | {"rows": int(mask.sum()), "clusters": count}
        # Half of the clusters are tested, and Student's t allows for so few.
        if (
            within is None
            or elsewhere is None
            or beyond is None
            or mask.sum() < given.evaluate.slice_rows
            or 2 * count < given.gates.clusters
        ):
            continue
        entry |= {
            "loss": parts.bounded("loss within", within),
            "elsewhere": parts.bounded("loss elsewhere", elsewhere),
            "difference": parts.bounded("loss less that elsewhere", beyond),
        }
        p_values.append((entry, multiplicity.p_below(-beyond.figures, 0.0, count)))
    for (entry, p_value), corrected in zip(p_values, multiplicity.holm([p for _, p in p_values]), strict=True):
        entry |= {"p": p_value, "p_holm": corrected, "verdict": WEAK if corrected <= ALPHA else NOT_CONFIRMED}


def _sides(losses: NDArray[np.float64], mask: NDArray[np.bool_], drawn: Codes, largest: float) -> list[Statistic]:
    """Return the statistics of the mean loss within the slice, of that elsewhere, and of the difference."""
    inside, outside = (mean(losses[rows], drawn[rows], low=0.0, high=largest) for rows in (mask, ~mask))
    return [inside, outside, inside - outside]


def _size(clusters: NDArray[np.int64], rows: Codes) -> dict[str, int]:
    return {"rows": len(rows), "clusters": len(np.unique(clusters[rows]))}
