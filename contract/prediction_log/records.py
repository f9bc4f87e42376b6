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

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from contract.errors import DataRejectedError
from contract.schema.schema import FeatureSchema

SUFFIX = ".predictions"
FORMAT = 1
ID_LIMIT_BYTES = 128
_MAGIC = b"BPL1"
_HEAD = struct.Struct("<4sII")
_COUNT = struct.Struct("<I")
_HEADER_LIMIT_BYTES = 1 << 24
# Answered at (ns), rows, identifier.
Call = tuple[int, int, bytes]


@dataclass(frozen=True)
class Header:
    """The header of a file, common to all its rows.

    Attributes:
        name, version: of the model; the version is the bundle's digest.
        task: one of `contract.schema.tasks`.
        labels, threshold: of the schema's target, or its quantiles as labels; they turn scores into answers.
        features: names of the columns, without those made from personal data.
        scores: number of score columns: one, or one for each label of a multiclass target, or quantile.
    """

    name: str
    version: str
    task: str
    labels: tuple[str, ...]
    threshold: float | None
    features: tuple[str, ...]
    scores: int
    format: int = FORMAT

    @classmethod
    def of(cls, schema: FeatureSchema, version: str) -> Header:
        """Return the header for a model's schema and its bundle's digest."""
        target = schema.target
        features = tuple(schema.open_features)
        return cls(schema.name, version, schema.task, target.scored, target.threshold, features, schema.scores)

    def to_bytes(self) -> bytes:
        """Return the first line of a file, its newline included."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False).encode() + b"\n"

    @classmethod
    def from_bytes(cls, content: bytes) -> Header:
        """Return the header that `to_bytes` wrote.

        Raises:
            DataRejectedError: the content is not a header of this format.
        """
        try:
            raw: dict[str, Any] = json.loads(content)
            if raw["format"] != FORMAT:
                raise ValueError(f"its format is {raw['format']}, not {FORMAT}")
            return cls(**raw | {key: tuple(raw[key]) for key in ("labels", "features")})
        except (KeyError, TypeError, ValueError) as error:
            raise DataRejectedError(f"not a prediction log: {error}") from error


@dataclass(frozen=True)
class Batch:
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
            _COUNT.pack(len(calls)),
            np.array(times, "<i8").tobytes(),
            np.array(rows, "<u4").tobytes(),
            bytes(map(len, identifiers)),
            *identifiers,
            np.asarray(matrix, "<f4").tobytes(),
            np.asarray(scores, "<f4").tobytes(),
        )
    )
    return _HEAD.pack(_MAGIC, len(payload), zlib.crc32(payload)) + payload


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
            line = stream.readline(_HEADER_LIMIT_BYTES)
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
                payload = _next_payload(stream, size)
                if payload is None:
                    self.unreadable_bytes += size - found
                    return
                batch = _batch(payload, self.header) if payload else None
                if batch is None:
                    self.unreadable_bytes += stream.tell() - found
                else:
                    yield batch


def _next_payload(stream: BinaryIO, size: int) -> bytes | None:
    """Return the payload of the next frame; empty if it is corrupt, None if it is cut short or no frame begins here."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    magic, length, checksum = _HEAD.unpack(head)
    if magic != _MAGIC or stream.tell() + length > size:
        return None
    payload = stream.read(length)
    # A corrupt frame costs its own rows only: its length still says where the next one begins.
    return payload if zlib.crc32(payload) == checksum else b""


def _batch(payload: bytes, header: Header) -> Batch | None:
    """Return the rows of a payload, or None if it does not match the header."""
    count = _COUNT.unpack_from(payload)[0] if len(payload) >= _COUNT.size else 0
    fixed = _COUNT.size + 13 * count  # of each request: time 8, rows 4, length of its identifier 1
    if fixed > len(payload):
        return None
    times = np.frombuffer(payload, "<i8", count, _COUNT.size)
    rows = np.frombuffer(payload, "<u4", count, _COUNT.size + 8 * count)
    ends = list(accumulate(payload[fixed - count : fixed], initial=fixed))
    total, features, scores = int(rows.sum()), len(header.features), header.scores
    if ends[-1] + 4 * total * (features + scores) != len(payload):
        return None
    # Callers choose these bytes; a bad one must not cost the batch.
    identifiers = [payload[start:end].decode(errors="replace") for start, end in pairwise(ends)]
    numbers = np.frombuffer(payload, "<f4", offset=ends[-1])
    of_row = np.repeat(np.arange(count), rows)
    first = np.cumsum(rows) - rows
    return Batch(
        times[of_row],
        [identifiers[call] for call in of_row.tolist()],
        (np.arange(total) - first[of_row]).astype(np.uint32),
        numbers[: total * features].reshape(total, features),
        numbers[total * features :].reshape(total, scores),
    )
