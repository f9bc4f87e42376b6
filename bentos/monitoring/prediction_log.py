"""The writer of the prediction log: bounded, on a thread of its own, into a directory that the operator names.

No request ever waits for it. Rows that the disk refuses or takes too slowly are dropped and counted. Written files are never deleted or
changed here: a directory that nobody empties fills up to its limit, and then the log drops rows.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from queue import SimpleQueue
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from bentos.monitoring.exposition import Family, labels
from contract.prediction_log.records import SUFFIX, Call, Header, frame
from contract.prediction_log.settings import FILE_BYTES, Settings
from contract.schema.schema import FeatureSchema

_FILE_S = 3600.0  # then a file is complete, however small, and may be read
# The most that may wait for the disk; more is dropped.
_QUEUE_BYTES = 32 << 20
_CLOSE_LIMIT_S = 5.0
Floats = NDArray[np.float32]
logger = logging.getLogger(__name__)


class _FullError(OSError):
    """The directory has reached its size limit."""


class PredictionLog:
    """The log of one server; `offer` and `close` are for the event loop's thread, the rest runs on the log's own."""

    def __init__(
        self,
        settings: Settings,
        schema: FeatureSchema,
        version: str,
        file_bytes: int = FILE_BYTES,
        metrics: tuple[str, str] = ("bulkhead_prediction_log_rows", "bulkhead_prediction_log_dropped_rows"),
    ) -> None:
        self._metrics = metrics
        self._files = _Files(settings, Header.of(schema, version), file_bytes)
        self._version = labels({"model_version": version})
        names = schema.feature_names
        self._columns = [names.index(name) for name in schema.open_features]
        self._whole = len(self._columns) == len(names)
        self._queue: SimpleQueue[tuple[list[Call], Floats, Floats] | None] = SimpleQueue()
        # No lock: each of these is changed by one thread only, the first two by the event loop's, the others by the log's.
        self._offered_bytes, self._overflowed = 0, 0
        self._handled_bytes, self._written = 0, 0
        self._lost = {"full": 0, "disk": 0}
        # A daemon, which the interpreter does not wait for at its end: a disk may hang for ever.
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def offer(self, calls: list[Call], matrix: Floats, scores: Floats) -> None:
        """Queue requests for the log, or count their rows as dropped; the matrix holds the rows in the order of the calls."""
        size = matrix.nbytes + scores.nbytes
        if self._offered_bytes - self._handled_bytes + size > _QUEUE_BYTES:
            self._overflowed += len(scores)
            return
        self._offered_bytes += size
        self._queue.put((calls, matrix, scores))

    def close(self) -> None:
        """Wait until everything is written, at most 5 seconds."""
        self._queue.put(None)
        self._thread.join(_CLOSE_LIMIT_S)

    def collect(self) -> Iterator[Family]:
        """Yield the counters of written and dropped rows."""
        written_name, dropped_name = self._metrics
        written = Family(written_name, "counter", "Rows written to the log")
        written.add(self._version, self._written)
        dropped = Family(dropped_name, "counter", "Rows that the log dropped")
        for cause, rows in {"queue": self._overflowed, **self._lost}.items():
            dropped.add(f"{labels({'cause': cause})},{self._version}", rows)
        yield from (written, dropped)

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            calls, matrix, scores = batch
            kept = matrix if self._whole else matrix[:, self._columns]
            failure = self._files.append(frame(calls, kept, scores))
            if failure is None:
                self._written += len(scores)
            else:
                self._lost[failure] += len(scores)
            self._handled_bytes += matrix.nbytes + scores.nbytes
        self._files.close()


class _Files:
    """The files of a log: rotated by size and age; a lock on a file marks it as being written."""

    def __init__(self, settings: Settings, header: Header, file_bytes: int) -> None:
        self._settings = settings
        self._header = header.to_bytes()
        self._stem = header.version[:12]
        self._file_bytes = min(file_bytes, settings.limit_bytes)
        self._descriptor: int | None = None
        self._size, self._opened = 0, 0.0
        self._failure: str | None = None

    def append(self, content: bytes) -> str | None:
        """Append the content whole, by one write, or not at all; return the cause of a failure, `full` or `disk`, else None."""
        failure = None
        try:
            self._append(content)
        except OSError as error:
            failure = "full" if isinstance(error, _FullError) else "disk"
            if failure != self._failure:
                logger.warning("the prediction log drops rows until it is writable again: %s", error)
        if failure is None and self._failure is not None:
            logger.warning("the prediction log is writable again")
        self._failure = failure
        return failure

    def _append(self, content: bytes) -> None:
        is_old = monotonic() - self._opened > _FILE_S
        if self._descriptor is not None and (is_old or self._size + len(content) > self._file_bytes):
            self.close()
        if self._descriptor is None:
            self._descriptor = self._open(len(content))
        self._write(self._descriptor, content)
        self._size += len(content)

    def _open(self, needed: int) -> int:
        directory = self._settings.directory
        used = sum(path.stat().st_size for path in directory.glob(f"*{SUFFIX}"))
        if used + max(self._file_bytes, len(self._header) + needed) > self._settings.limit_bytes:
            raise _FullError(f"{directory} holds {used >> 20} MB of log files, its limit; read and remove some")
        name = f"{self._stem}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{os.urandom(4).hex()}{SUFFIX}"
        descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._size = 0
            self._write(descriptor, self._header)
        except OSError:
            os.close(descriptor)
            (directory / name).unlink(missing_ok=True)
            raise
        self._size, self._opened = len(self._header), monotonic()
        return descriptor

    def _write(self, descriptor: int, content: bytes) -> None:
        """Write once; truncate a partial write, or else close the file, whose last frame is then incomplete."""
        try:
            if os.write(descriptor, content) == len(content):
                return
            raise OSError("the disk is full")
        except OSError:
            try:
                os.ftruncate(descriptor, self._size)
            except OSError:
                self.close()
            raise

    def close(self) -> None:
        """Flush the current file to the disk and close it; failures are ignored, since nothing more can be done."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.fsync(self._descriptor)
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None
