"""The progress of a training: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from contract import command_line
from pipelines.models.rounds import Round, Watch

_LINES = 10  # for each training, in a log


@contextmanager
def shown() -> Iterator[Watch]:
    """Give a watch that shows rounds, time left and validation loss on stderr."""
    progress = _Bar() if sys.stderr is not None and sys.stderr.isatty() else _Lines()
    try:
        yield progress
    finally:
        progress.close()


class _Lines:
    """Every tenth of the rounds a line, and none before the first tenth is over."""

    def __call__(self, at: Round) -> None:
        if at.number % max(1, at.most // _LINES) == 0:
            command_line.tell(f"{at.title}: {at.unit} {at.number} of at most {at.most}{_loss(at)}")

    def close(self) -> None:
        """Say nothing more."""


class _Bar:
    """A bar for each training."""

    def __init__(self) -> None:
        self._title = ""
        self._bar: Any = None

    def __call__(self, at: Round) -> None:
        if at.title != self._title:
            self.close()
            self._title, self._bar = at.title, self._opened(at)
        self._bar.set_postfix_str(_loss(at).removeprefix(", "), refresh=False)
        self._bar.update(at.number - self._bar.n)

    def _opened(self, at: Round) -> Any:
        from tqdm import tqdm

        return tqdm(desc=at.title, total=at.most, unit=at.unit, dynamic_ncols=True)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()


def _loss(at: Round) -> str:
    return "" if at.loss is None else f", validation loss {at.loss:.5f}"
