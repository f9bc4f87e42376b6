"""Progress of a stage by month: a line for each month that is done, which `pipelines.runs` reads and people see in a task's log."""

from __future__ import annotations

import time


class Months:
    """Tells of each month when it is done; the first one began when this was made."""

    def __init__(self, done: str, total: int) -> None:
        """Begin; `done` is the past participle of what the stage does, such as `validated`."""
        self._done = done
        self._total = total
        self._number = 0
        self._since = time.monotonic()

    def tell(self, month: str, rows: int) -> None:
        """Print the line of a month that is done now; the next one begins now."""
        now = time.monotonic()
        self._number += 1
        counted = f"({self._number} of {self._total})"
        print(f"month {month}: {self._done}, {rows:,} rows, {now - self._since:.1f} s {counted}", flush=True)
        self._since = now
