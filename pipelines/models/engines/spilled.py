"""Batches on the disk as arrays: XGBoost asks for every batch of a quantised matrix four times, and a training makes two matrices."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipelines.data.training import Batch, Part, Rows, Span

_ARRAYS = ("matrix", "outcomes", "is_validation", "weights")
_LOG = logging.getLogger(__name__)


class Spilled:
    """The rows, batch by batch, in a directory with room for them; without room they are decoded anew each time."""

    def __init__(self, rows: Rows, directory: Path) -> None:
        self._rows, self._directory = rows, directory
        self._is_full = False

    def batches(self, part: Part, at_once: int) -> Iterator[Batch]:
        """Yield the rows of a part, as `Rows.batches` does, without clusters."""
        for span, chosen in self._rows.chosen(part, at_once):
            yield self._stored(span) if chosen is None else self._rows.slice(span, chosen)

    def _stored(self, span: Span) -> Batch:
        """Return the rows of a slice, mapped from the disk, where the first call writes them."""
        place = self._directory / "-".join(map(str, span))
        if place.exists():
            return Batch(**{path.stem: np.load(path, mmap_mode="r") for path in place.iterdir()})
        batch = self._rows.slice(span)
        if not self._is_full:
            self._write(place, batch)
        return batch

    def _write(self, place: Path, batch: Batch) -> None:
        temporary = place.with_suffix(".new")
        try:
            temporary.mkdir()
            for name in _ARRAYS:
                if (array := getattr(batch, name)) is not None:
                    np.save(temporary / f"{name}.npy", array)
            temporary.rename(place)
        except OSError as error:
            self._is_full = True
            shutil.rmtree(temporary, ignore_errors=True)
            _LOG.warning("%s cannot be written (%s); batches are decoded anew each time", self._directory, error)
