"""The outcome of a command in a run's workspace: one JSON object, the last line of its output.

{"stage": "evaluate", "state": "ran", "seconds": 21.3,
 "stages": [{"stage": "validate", "state": "ran", "seconds": 3.2, "lines": 7, "months": […], "facts": {…}}, …],
 "months": [{"month": "2013-03", "state": "ran", "seconds": 0.8, "lines": 8, "rows": 28834}, …],
 "facts": {"rows": 57164, …}, "links": {"report": "…/verdict.html"}}

`state` is `running`, `ran`, `unchanged` (the results are those that the cache holds), `failed`, of a month alone `refused`, or in a dry
run `would run`.
`lines` is the number of the first line of output that belongs to the stage or the month; the outcome itself is not counted.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

PROGRESS = "BULKHEAD_PROGRESS"  # in the environment of a caller that reads outcomes while the command runs
WOULD_RUN = "would run"
LOOKED_AT = ("declare", "champion")  # stages that a dry run runs: stages/preview-shell
_PAUSE_S = 1.0
# Messages of DVC 3 (dvc/stage/run.py, dvc/stage/__init__.py, dvc/stage/cache.py).
_RUNNING = re.compile(r"Running stage '(.+)':$")
_UNCHANGED = re.compile(r"Stage '(.+)' (?:didn't change, skipping|is cached - skipping run, checking out outputs)$")
_LEFT_OUT = re.compile(r"Stages? (.+) will be skipped due to this failure$")  # dvc/repo/reproduce.py
_MONTH = re.compile(r"month (\S+): \w+, ([\d,]+) rows, ([\d.]+) s \(\d+ of \d+\)$")  # of pipelines.machine.progress
# The worst first: of several months or stages it is the state of all.
_SEVERITY = ("failed", "refused", "running", WOULD_RUN, "ran", "unchanged")


@dataclass
class Month:
    """The outcome of one month in one stage."""

    month: str
    state: str
    seconds: float
    lines: int | None = None
    rows: int | None = None


@dataclass
class Stage:
    """The outcome of one stage; the months are those that it says it has done."""

    stage: str
    state: str
    seconds: float = 0.0
    lines: int | None = None
    months: dict[str, Month] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the stage as JSON, without what is not known."""
        months = [_known(asdict(self.months[month])) for month in sorted(self.months)]
        return {**_known(asdict(self)), "seconds": round(self.seconds, 2), "months": months}


class Progress:
    """What `dvc repro` has done so far, as its output tells; `show` is called with each new outcome, at most once a second."""

    def __init__(
        self,
        named: Sequence[str],
        show: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        dry_run: Container[str] = (),
    ) -> None:
        self.stages: dict[str, Stage] = {}
        self._named = named
        self._show = show
        self._clock = clock
        self._dry_run = dry_run
        self._started = clock()
        self._shown = self._started
        self._lines = 0
        self._current: tuple[Stage, str | None, float] | None = (
            None  # with its month, of one that DVC runs month by month
        )

    def read(self, line: str) -> None:
        """Take notice of a line of output."""
        self._lines += 1
        line = line.rstrip()
        if running := _RUNNING.match(line):
            self._begin(running[1], WOULD_RUN if self._dry_run and running[1] not in LOOKED_AT else "running")
        elif self._dry_run and (left_out := _LEFT_OUT.search(line)):
            for address in re.findall("'([^']+)'", left_out[1]):
                if address.partition("@")[0] in self._dry_run:  # DVC names also what depends on the run's stages
                    self._begin(address, WOULD_RUN)
        elif unchanged := _UNCHANGED.match(line):
            self._begin(unchanged[1], "unchanged")
        elif self._current and (month := _MONTH.match(line)):
            rows = int(month[2].replace(",", ""))
            self._current[0].months[month[1]] = Month(month[1], "ran", float(month[3]), self._lines, rows)
            self._tell()

    def end(self, code: int) -> None:
        """End the last stage by the exit code of all."""
        self._end("ran" if code == 0 else "failed")

    def outcome(self, code: int | None = None, links: Mapping[str, str] | None = None) -> str:
        """Return the outcome as a line of JSON; without an exit code it is that of a command that still runs."""
        stages = list(self.stages.values())
        # A stage that is unchanged has unchanged inputs, so this holds for all before it, though `champion` always runs.
        asked = worst(stage.state for stage in stages if stage.stage in self._named)
        state = "running" if code is None else "failed" if code else asked
        facts = {key: value for stage in stages for key, value in stage.facts.items()}
        whole = line_of(" ".join(self._named), state, self._clock() - self._started, facts=facts, links=links or {})
        whole["months"] = [_known(asdict(month)) for month in _months(stages)]
        whole["stages"] = [stage.as_json() for stage in stages]
        return json.dumps(whole)

    def _begin(self, address: str, state: str) -> None:
        self._end("ran")
        name, _, month = address.partition("@")
        stage = self.stages.setdefault(name, Stage(name, state, lines=self._lines))
        stage.state = worst((stage.state, state))
        if month:
            stage.months.setdefault(month, Month(month, state, 0.0, self._lines))
        self._current = stage, month or None, self._clock()
        self._tell(at_once=state == "running" and not month)

    def _end(self, state: str) -> None:
        if self._current is None:
            return
        stage, month, since = self._current
        taken = self._clock() - since
        stage.seconds += taken
        ended: list[Stage | Month] = [stage, *([stage.months[month]] if month else [])]
        for entry in ended:
            if entry.state == "running":
                entry.state = state
        if month and not stage.months[month].rows:  # else it has said itself how long it took
            stage.months[month].seconds = round(taken, 2)
        self._current = None

    def _tell(self, *, at_once: bool = False) -> None:
        now = self._clock()
        if self._show and (at_once or now - self._shown >= _PAUSE_S):
            self._shown = now
            self._show(self.outcome())


def line_of(stage: str, state: str, seconds: float, **more: Any) -> dict[str, Any]:
    """Return an outcome; what is empty is left out."""
    return {"stage": stage, "state": state, "seconds": round(seconds, 2), **_known(more)}


def worst(states: Iterable[str]) -> str:
    """Return the state of all by the states of each; `unchanged` of none."""
    return min(states, key=_SEVERITY.index, default="unchanged")


def _months(stages: Iterable[Stage]) -> list[Month]:
    """Return each month over all stages: its worst state, its seconds in all, and where it is first in the output."""
    found: dict[str, Month] = {}
    for stage in stages:
        for month in stage.months.values():
            before = found.get(month.month, Month(month.month, "unchanged", 0.0, month.lines))
            found[month.month] = Month(
                month.month,
                worst((before.state, month.state)),
                round(before.seconds + month.seconds, 2),
                before.lines,
                month.rows or before.rows,
            )
    return [found[month] for month in sorted(found)]


def _known(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if value not in (None, {}, [], "")}
