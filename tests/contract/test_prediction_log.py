"""The format of the prediction log: what was appended comes back, however the file was cut or damaged."""

from __future__ import annotations

import json
import math
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.errors import ConfigurationError, DataRejectedError
from contract.prediction_log import settings as log_settings
from contract.prediction_log.records import Batch, Call, Header, Reader, frame
from tests.contract.conftest import SCHEMA

HEADER = Header.of(SCHEMA, "f00d" * 16)
WIDTH = len(HEADER.features)
CALLS: list[list[Call]] = [
    [(1_700_000_000_000_000_001, 1, b"first"), (1_700_000_000_000_000_002, 3, "zwölf".encode())],
    [(1_700_000_000_000_000_003, 2, b"")],
    [(1_700_000_000_000_000_004, 1, b"x" * 128)],
]


def _numbers(calls: list[Call], start: int) -> tuple[Any, Any]:
    rows = sum(count for _, count, _ in calls)
    matrix = np.arange(start, start + rows * WIDTH, dtype=np.float32).reshape(rows, WIDTH) / 7
    matrix[0, 2] = math.nan
    return matrix, np.arange(start, start + rows, dtype=np.float32) / 11


FRAMES = [frame(calls, *_numbers(calls, 100 * at)) for at, calls in enumerate(CALLS)]


def _read(path: Path) -> tuple[list[Batch], int]:
    reader = Reader(path)
    batches = list(reader.batches(path.stat().st_size))
    return batches, reader.unreadable_bytes


def _check(batch: Batch, at: int) -> None:
    matrix, scores = _numbers(CALLS[at], 100 * at)
    assert batch.matrix.shape == matrix.shape
    assert (batch.matrix.tobytes(), batch.scores.tobytes()) == (matrix.tobytes(), scores.tobytes())
    expected = [(time, name.decode(), position) for time, rows, name in CALLS[at] for position in range(rows)]
    assert list(zip(batch.times.tolist(), batch.request_ids, batch.positions.tolist(), strict=True)) == expected


def test_rows_come_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(HEADER.to_bytes() + b"".join(FRAMES))
    batches, unreadable = _read(path)
    assert (Reader(path).header, unreadable, len(batches)) == (HEADER, 0, 3)
    for at, batch in enumerate(batches):
        _check(batch, at)


def test_whole_frames_are_read_when_the_file_ends_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "log"
    whole = HEADER.to_bytes() + b"".join(FRAMES)
    ends = [len(HEADER.to_bytes()) + sum(map(len, FRAMES[:count])) for count in range(4)]
    for cut in (*range(0, ends[0], 7), *range(ends[0], len(whole))):
        path.write_bytes(whole[:cut])
        batches, unreadable = _read(path)
        readable = [end for end in ends if end <= cut]
        assert len(batches) == max(len(readable) - 1, 0)
        assert unreadable == cut - (readable[-1] if readable else 0)
    _check(batches[1], 1)


def test_other_frames_are_read_when_one_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "log"
    start = len(HEADER.to_bytes()) + len(FRAMES[0])
    for at in range(12, len(FRAMES[1]), 5):
        content = bytearray(HEADER.to_bytes() + b"".join(FRAMES))
        content[start + at] ^= 4
        path.write_bytes(content)
        batches, unreadable = _read(path)
        assert (len(batches), unreadable) == (2, len(FRAMES[1]))
        _check(batches[0], 0)
        _check(batches[1], 2)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\1", struct.pack("<I", 1 << 31), struct.pack("<I", 1), struct.pack("<IqIB", 1, 0, 5, 0), b"\0" * 64],
)
def test_frame_that_does_not_fit_the_header_is_not_read(tmp_path: Path, payload: bytes) -> None:
    path = tmp_path / "log"
    made_up = struct.pack("<4sII", b"BPL1", len(payload), zlib.crc32(payload)) + payload
    path.write_bytes(HEADER.to_bytes() + made_up + FRAMES[0])
    batches, unreadable = _read(path)
    assert (len(batches), unreadable) == (1, len(made_up))
    _check(batches[0], 0)


@pytest.mark.parametrize(
    "content", [b"\n", b"[]\n", b"{}\n", b'{"format": 2}\n', json.dumps({"format": 1}).encode() + b"\n", b"PAR1\n"]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(DataRejectedError, match="not a prediction log"):
        Reader(tmp_path / "log")


def test_pii_features_are_no_columns_of_the_log() -> None:
    fields = tuple(replace(field, pii=field.name == "gate") for field in SCHEMA.fields)
    assert "gate" in HEADER.features
    assert Header.of(replace(SCHEMA, fields=fields), "f00d").features == tuple(
        name for name in HEADER.features if name != "gate"
    )


def test_settings_are_refused_when_nothing_can_be_written(tmp_path: Path) -> None:
    assert log_settings.read({}) is None
    assert log_settings.read({"BULKHEAD_PREDICTION_LOG": ""}) is None
    found = log_settings.read({"BULKHEAD_PREDICTION_LOG": str(tmp_path), "BULKHEAD_PREDICTION_LOG_MB": "32"})
    assert found
    assert (found.directory, found.limit_bytes) == (tmp_path, 32 << 20)
    for directory, size in (
        (str(tmp_path / "none"), "32"),
        ("relative", "32"),
        (__file__, "32"),
        (str(tmp_path), "15"),
        (str(tmp_path), "1e9"),
        (str(tmp_path), "-20"),
    ):
        with pytest.raises(ConfigurationError, match="BULKHEAD_PREDICTION_LOG"):
            log_settings.read({"BULKHEAD_PREDICTION_LOG": directory, "BULKHEAD_PREDICTION_LOG_MB": size})
