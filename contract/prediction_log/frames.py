"""The frames of the prediction log and the header of its files, without numpy, so that the fleet can read them too.

The format is described in `contract.prediction_log.records`.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from contract.errors import DataRejectedError

if TYPE_CHECKING:
    from contract.schema.schema import FeatureSchema

SUFFIX = ".predictions"
FORMAT = 1
ID_LIMIT_BYTES = 128
HEADER_LIMIT_BYTES = 1 << 24
COUNT = struct.Struct("<I")
_MAGIC = b"BPL1"
_HEAD = struct.Struct("<4sII")


class Header(NamedTuple):
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
        return json.dumps(self._asdict(), sort_keys=True, allow_nan=False).encode() + b"\n"

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


class Answered(NamedTuple):
    """One request of a frame: its identifier, the bytes of its rows' features and scores, float32, and the time of its response, ns."""

    identifier: bytes
    rows: int
    features: bytes
    scores: bytes
    at: int = 0


def framed(payload: bytes) -> bytes:
    """Return the frame of a payload."""
    return _HEAD.pack(_MAGIC, len(payload), zlib.crc32(payload)) + payload


def next_payload(stream: BinaryIO, size: int) -> bytes | None:
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


class Layout(NamedTuple):
    """The requests of a payload: the rows and the identifier of each, and where the numbers begin."""

    rows: tuple[int, ...]
    identifiers: list[bytes]
    numbers: int


def layout(payload: bytes, header: Header) -> Layout | None:
    """Return the layout of a payload, or None if it does not match the header."""
    count = COUNT.unpack_from(payload)[0] if len(payload) >= COUNT.size else 0
    fixed = COUNT.size + 13 * count  # of each request: time 8, rows 4, length of its identifier 1
    if fixed > len(payload):
        return None
    rows = struct.unpack_from(f"<{count}I", payload, COUNT.size + 8 * count)
    ends = list(accumulate(payload[fixed - count : fixed], initial=fixed))
    if ends[-1] + 4 * sum(rows) * (len(header.features) + header.scores) != len(payload):
        return None
    return Layout(rows, [payload[start:end] for start, end in pairwise(ends)], ends[-1])


def answered(payload: bytes, header: Header) -> Iterator[Answered]:
    """Yield the requests of a payload; none if it does not match the header."""
    found = layout(payload, header)
    if found is None:
        return
    width, scores = 4 * len(header.features), 4 * header.scores
    at, score_at = found.numbers, found.numbers + width * sum(found.rows)
    times = struct.unpack_from(f"<{len(found.rows)}q", payload, COUNT.size)
    for identifier, rows, answered_at in zip(found.identifiers, found.rows, times, strict=True):
        end, score_end = at + width * rows, score_at + scores * rows
        yield Answered(identifier, rows, payload[at:end], payload[score_at:score_end], answered_at)
        at, score_at = end, score_end
