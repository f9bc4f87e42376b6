"""The format of the prediction log, written by servers and read by the training plane.

A file is one line of JSON, the `Header`, and then frames, one for each batch of requests, appended whole:

| bytes | content |
|---|---|
| 4 | `BPL1` |
| 4 | length of the payload, uint32 |
| 4 | CRC-32 of the payload, uint32 |
| … | the payload: |
| 4 | the number of requests n, uint32 |
| 8 n | time of each response: nanoseconds since 1970 UTC, int64 |
| 4 n | rows of each, uint32; r in all |
| n | length of each request's identifier, uint8 |
| … | the identifiers, UTF-8, one after the other |
| 4 r · features | the model's inputs, float32, row after row, NaN for missing |
| 4 r · scores | the model's outputs, float32, row after row |

All little-endian. A file whose writer was killed may end within a frame; a reader ignores that part. Reasons: `docs/adr/0010`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.prediction_log.frames import (
    COUNT,
    FORMAT,
    HEADER_LIMIT_BYTES,
    ID_LIMIT_BYTES,
    SUFFIX,
    Header,
    framed,
    layout,
    next_payload,
)

__all__ = ["FORMAT", "ID_LIMIT_BYTES", "SUFFIX", "Batch", "Call", "Header", "Reader", "frame"]

# Answered at (ns), rows, identifier.
Call = tuple[int, int, bytes]


class Batch(NamedTuple):
    """Rows of a file.

    Attributes:
        times: response time of each row, nanoseconds since 1970 UTC, int64.
        request_ids: identifier of each row's request; empty if it had none.
        positions: position of each row in its request, from 0.
        matrix: float32, rows × features.
        scores: float32, rows × scores.
    """

    times: NDArray[np.int64]
    request_ids: list[str]
    positions: NDArray[np.uint32]
    matrix: NDArray[np.float32]
    scores: NDArray[np.float32]


def frame(calls: Sequence[Call], matrix: NDArray[np.float32], scores: NDArray[np.float32]) -> bytes:
    """Return the frame of these requests, whose rows follow each other in the matrix; identifiers have at most 255 bytes."""
    times, rows, identifiers = zip(*calls, strict=True)
    payload = b"".join(
        (
            COUNT.pack(len(calls)),
            np.array(times, "<i8").tobytes(),
            np.array(rows, "<u4").tobytes(),
            bytes(map(len, identifiers)),
            *identifiers,
            np.asarray(matrix, "<f4").tobytes(),
            np.asarray(scores, "<f4").tobytes(),
        )
    )
    return framed(payload)


class Reader:
    """A reader of a file, complete or still growing, up to the last whole frame.

    Attributes:
        header: None if the file ends within it, so that there are no rows.
        unreadable_bytes: bytes outside whole frames, once all batches were read.

    Raises:
        DataRejectedError: the file is not a prediction log of this format.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.unreadable_bytes = 0
        with path.open("rb") as stream:
            # Bounded: a file that is no log may be one line of gigabytes.
            line = stream.readline(HEADER_LIMIT_BYTES)
        self.header = Header.from_bytes(line) if line.endswith(b"\n") else None
        self._start = len(line)

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield the rows in the first `size` bytes of the file."""
        if self.header is None:
            self.unreadable_bytes = size
            return
        with self._path.open("rb") as stream:
            stream.seek(self._start)
            while (found := stream.tell()) < size:
                # Up to `size` and not to the end: what the server appends meanwhile is the next run's.
                payload = next_payload(stream, size)
                if payload is None:
                    self.unreadable_bytes += size - found
                    return
                batch = _batch(payload, self.header) if payload else None
                if batch is None:
                    self.unreadable_bytes += stream.tell() - found
                else:
                    yield batch


def _batch(payload: bytes, header: Header) -> Batch | None:
    """Return the rows of a payload, or None if it does not match the header."""
    found = layout(payload, header)
    if found is None:
        return None
    features, scores, total = len(header.features), header.scores, sum(found.rows)
    times = np.frombuffer(payload, "<i8", len(found.rows), COUNT.size)
    rows = np.array(found.rows, np.int64)
    # Callers choose these bytes; a bad one must not cost the batch.
    identifiers = [identifier.decode(errors="replace") for identifier in found.identifiers]
    numbers = np.frombuffer(payload, "<f4", offset=found.numbers)
    of_row = np.repeat(np.arange(len(rows)), rows)
    first = np.cumsum(rows) - rows
    return Batch(
        times[of_row],
        [identifiers[call] for call in of_row.tolist()],
        (np.arange(total) - first[of_row]).astype(np.uint32),
        numbers[: total * features].reshape(total, features),
        numbers[total * features :].reshape(total, scores),
    )
