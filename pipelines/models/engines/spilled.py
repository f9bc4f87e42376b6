"""Batches on the disk as arrays: XGBoost asks for every batch of a quantised matrix four times, and a training makes two matrices."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipelines.data.training import Batch, Part, Rows, Span

_ARRAYS = ("matrix", "outcomes", "is_validation", "weights")
_LEFT = 0.1  # share of the disk that is left to others: pages, checkpoints, the logs of a fleet
_LOG = logging.getLogger(__name__)


class Spill:
    """A directory for the batches of one table during one training; those without room are decoded anew each time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._is_full = False

    def batches(self, rows: Rows, part: Part, at_once: int) -> Iterator[Batch]:
        """Yield the rows of a part, as `Rows.batches` does, without clusters."""
        for span, chosen in rows.chosen(part, at_once):
            yield self._stored(rows, span) if chosen is None else rows.slice(span, chosen)

    def _stored(self, rows: Rows, span: Span) -> Batch:
        """Return the rows of a slice, mapped from the disk, where the first call writes them."""
        place = self._directory / "-".join(map(str, span))
        if place.exists():
            return Batch(**{path.stem: np.load(path, mmap_mode="r") for path in place.iterdir()})
        batch = rows.slice(span)
        if not self._is_full:
            self._write(place, batch)
        return batch

    def _write(self, place: Path, batch: Batch) -> None:
        arrays = {name: array for name in _ARRAYS if (array := getattr(batch, name)) is not None}
        temporary = place.with_suffix(".new")
        try:
            disk = shutil.disk_usage(self._directory)
            if disk.free < sum(array.nbytes for array in arrays.values()) + _LEFT * disk.total:
                self._stop(f"{disk.free / 1e9:.1f} GB of the disk are free")
                return
            temporary.mkdir()
            for name, array in arrays.items():
                np.save(temporary / f"{name}.npy", array)
            temporary.rename(place)
        except OSError as error:
            self._stop(f"cannot be written: {error}")
            for written in self._directory.iterdir():  # others need the room
                shutil.rmtree(written, ignore_errors=True)

    def _stop(self, why: str) -> None:
        self._is_full = True
        _LOG.warning("%s: %s; further batches are decoded anew each time", self._directory, why)
