"""The page `reports/comparison.html`: two commits beside each other, from their metrics and from the plots that `dvc.yaml` declares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.data import pages
from pipelines.stages.evaluate.report import sentences
from pipelines.stages.evaluate.report.drawing import CHANCE, MODEL, canvas, styled, svg, titled
from pipelines.statistics.measures import MEASURES

Rows = list[dict[str, Any]]
_MOST_BARS = 15
_COLOURS = (CHANCE, MODEL)


def render(
    metrics: Mapping[str, Mapping[str, Any]], plots: Mapping[str, Mapping[str, Any]], drawn: Mapping[str, Sequence[Any]]
) -> str:
    """Return the page; the same input gives the same bytes.

    Args:
        metrics: `metrics.json` by commit, the earlier one first.
        plots: the declared plots, by title.
        drawn: `data` of `dvc plots diff --json`.
    """
    rows = {title: _by_commit(drawn.get(title, ()), tuple(metrics)) for title in plots}
    shown = {title: found for title, found in rows.items() if any(found.values())}
    with styled():
        pictures = {
            title: titled(_picture(plots[title], found), title)
            for title, found in shown.items()
            if plots[title].get("template") != "confusion"
        }
    return pages.render(
        Path(__file__).with_name("page.html.j2"),
        commits=list(metrics),
        figures=_figures(list(metrics.values())),
        holdouts=[found.get("holdout", {}) for found in metrics.values()],
        pictures=pictures,
        confusions={title: _confusion(plots[title], found) for title, found in shown.items() if title not in pictures},
    )


def _figures(metrics: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return title -> the figure of each commit with its bounds, or the words that it has none."""
    names = [name for name in dict.fromkeys(name for found in metrics for name in found) if _is_figure(metrics, name)]
    titles = {name: MEASURES[name].title if name in MEASURES else name.replace("_", " ") for name in names}
    return {titles[name]: [_figure(found, name) for found in metrics] for name in names}


def _is_figure(metrics: Sequence[Mapping[str, Any]], name: str) -> bool:
    return any(isinstance(found.get(name), int | float) for found in metrics)


def _figure(found: Mapping[str, Any], name: str) -> str:
    if name not in found:
        return "–"
    bounds = found.get("bounds", {}).get(name)
    if bounds is None:
        return "no bounds: too few days or rows, or an earlier version"
    return sentences.figure({"figure": found[name], **bounds}, "{:,.4f}")


def _by_commit(entries: Sequence[Any], commits: Sequence[str]) -> dict[str, Rows]:
    """Return the rows of a plot by commit."""
    found: dict[str, Rows] = {commit: [] for commit in commits}
    for entry in entries:
        for row in entry["content"]["data"]["values"]:
            found[row["rev"]].append(row)
    return found


def _picture(plot: Mapping[str, Any], rows: Mapping[str, Rows]) -> str:
    figure, axes = canvas()
    x, (y,) = plot["x"], plot["y"].values()
    draw = {"bar_horizontal": _bars, "scatter": _points}.get(plot.get("template", ""), _line)
    draw(axes, rows, x, y)
    axes.set(xlabel=plot["x_label"], ylabel=plot["y_label"])
    axes.legend(frameon=False, labelcolor="linecolor" if draw is _line else None)
    return svg(figure)


def _line(axes: Any, rows: Mapping[str, Rows], x: str, y: str) -> None:
    for colour, (commit, found) in zip(_COLOURS, rows.items(), strict=True):
        axes.plot([float(row[x]) for row in found], [float(row[y]) for row in found], color=colour, label=commit)


def _points(axes: Any, rows: Mapping[str, Rows], x: str, y: str) -> None:
    for colour, (commit, found) in zip(_COLOURS, rows.items(), strict=True):
        at = [[float(row[name]) for row in found] for name in (x, y)]
        axes.plot(*at, color=colour, marker="o", markersize=3, linestyle="", alpha=0.5, label=commit)


def _bars(axes: Any, rows: Mapping[str, Rows], x: str, y: str) -> None:
    """Draw the largest bars of the later commit, each above that of the earlier one."""
    widths = {commit: {row[y]: float(row[x]) for row in found} for commit, found in rows.items()}
    *_, last = widths.values()
    names = sorted(last, key=lambda name: -last[name])[:_MOST_BARS][::-1]
    for place, (colour, (commit, found)) in enumerate(zip(_COLOURS, widths.items(), strict=True)):
        at = [index + 0.4 * place - 0.2 for index in range(len(names))]
        axes.barh(at, [found.get(name, 0.0) for name in names], height=0.4, color=colour, label=commit)
    axes.set_yticks(range(len(names)), names)


def _confusion(plot: Mapping[str, Any], rows: Mapping[str, Rows]) -> dict[str, Any]:
    """Return the labels, and by commit for each actual label the rows by answered one."""
    actual, (answered,) = plot["x"], plot["y"].values()
    labels = sorted({row[name] for found in rows.values() for row in found for name in (actual, answered)})
    counts = {commit: Counter((row[actual], row[answered]) for row in found) for commit, found in rows.items()}
    return {
        "labels": labels,
        "by_commit": {
            commit: {label: [count[label, other] for other in labels] for label in labels}
            for commit, count in counts.items()
        },
    }
