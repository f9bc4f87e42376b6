"""HTTP/2 over real sockets: what the RFCs allow is answered; what breaks their rules, floods, stalls or grows too large ends."""

from __future__ import annotations

import dataclasses
import random
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hpack import Encoder
from hyperframe.frame import Frame, PingFrame, RstStreamFrame, SettingsFrame

from bentos import oip_pb2
from bentos.core import Core
from bentos.gate import SPARE_CONNECTIONS
from tests.bentos.conftest import Case
from tests.bentos.http2_peer import (
    LIVE,
    PREFACE,
    SERVICE,
    Peer,
    call_frames,
    continuation,
    data,
    grpc_door,
    headers,
    prefixed,
    raw,
    window,
)
from tests.bentos.http_server import FrontDoor
from tests.bentos.test_grpc import typed_request
from tests.bentos.test_http_protocol import until

INFER = f"{SERVICE}/ModelInfer"
METADATA = f"{SERVICE}/ModelMetadata"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY = 1, 4, 8, 32


@pytest.fixture(scope="module")
def door(loaded_core: Core) -> Iterator[FrontDoor]:
    loaded_core.ready = True
    with grpc_door(loaded_core) as running:
        yield running


@pytest.fixture
def peer(door: FrontDoor) -> Iterator[Peer]:
    with Peer(door.port) as connected:
        yield connected


@pytest.fixture(autouse=True)
def nothing_is_left_or_logged(door: FrontDoor, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    until(lambda: not door.server.gate.connections)
    assert door.server.gate.held_bytes == 0
    assert not caplog.records


def with_limits(core: Core, monkeypatch: pytest.MonkeyPatch, **limits: float) -> Any:
    monkeypatch.setattr(core, "limits", dataclasses.replace(core.limits, **limits))  # type: ignore[arg-type]
    return grpc_door(core)


def many_rows(case: Case, core: Core, count: int = 1000) -> bytes:
    rows = [case.rows[index % len(case.rows)] for index in range(count)]
    content: bytes = typed_request(case, core, rows).SerializeToString()
    return content


def chances(message: bytes) -> list[float]:
    return list(oip_pb2.ModelInferResponse.FromString(message).outputs[0].contents.fp64_contents)


def expected_chances(case: Case, count: int = 1000) -> list[float]:
    return [case.answers[index % len(case.rows)]["probability"] for index in range(count)]


# ---- what is allowed ----


def test_long_answer_comes_whole_when_windows_open_bit_by_bit(door: FrontDoor, case: Case, core: Core) -> None:
    with Peer(door.port, initial_window_size=10) as peer:
        peer.call(1, INFER, many_rows(case, core))
        while len(peer.answers.get(1).body if 1 in peer.answers else b"") < 10:
            assert peer.read()
        peer.call(3)
        assert peer.answer(3).message == b"\x08\x01"  # others are answered meanwhile
        assert len(peer.answers[1].body) == 10
        peer.send(window(1, 5), SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}))  # 10 less: below 0
        peer.send(window(1, 6), PingFrame(opaque_data=b"12345678"))
        while not any(isinstance(frame, PingFrame) for frame in peer.frames):
            assert peer.read()
        assert len(peer.answers[1].body) == 15
        peer.send(SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 3000}))
        for _ in range(200):
            peer.send(window(1, 1000))
        assert chances(peer.answer(1).message) == expected_chances(case)
        assert max(len(frame.data) for frame in peer.frames if frame.stream_id == 1 and hasattr(frame, "data")) <= 16384


def test_answers_wait_for_the_window_of_the_connection_in_turn(door: FrontDoor, case: Case, core: Core) -> None:
    message, streams = many_rows(case, core, 300), range(1, 41, 2)
    with Peer(door.port) as peer:
        for stream in streams:
            peer.call(stream, INFER, message)
        received = 0
        while not all(peer.answers.get(stream) and peer.answers[stream].ended for stream in streams):
            assert peer.read()
            now = sum(len(answer.body) for answer in peer.answers.values())
            if now - received > 20000:
                peer.send(window(0, now - received))
                received = now
        assert all(chances(peer.answer(stream).message) == expected_chances(case, 300) for stream in streams)


def test_streams_are_answered_when_they_come_interleaved(peer: Peer, case: Case, core: Core) -> None:
    content, streams = prefixed(many_rows(case, core, 3)), range(1, 101, 2)
    peer.send(*(headers(stream, peer.block(INFER)) for stream in streams))
    for start in range(0, len(content), 100):
        peer.send(*(data(stream, content[start : start + 100]) for stream in streams))
    peer.send(*(data(stream, b"", "END_STREAM") for stream in reversed(streams)))
    for stream in streams:
        assert chances(peer.answer(stream).message) == expected_chances(case, 3)


def test_padding_priority_and_continuation_change_nothing(peer: Peer, case: Case, core: Core) -> None:
    block, content = peer.block(INFER, ("x-long", "y" * 3000)), prefixed(many_rows(case, core, 1))
    peer.send(
        headers(1, block[:10], "PADDED", "PRIORITY", pad_length=200, depends_on=3, stream_weight=7),
        *(continuation(1, bytes((byte,))) for byte in block[10:40]),
        continuation(1, block[40:], "END_HEADERS"),
        raw(PRIORITY, 0, 9, struct.pack(">LB", 1, 0)),
        raw(99, 255, 1, b"of a type that nobody knows"),
        data(1, content[:50], "PADDED", pad_length=255),
        data(1, b"", "PADDED", pad_length=0),
        data(1, content[50:], "PADDED", "END_STREAM", pad_length=1),
    )
    assert chances(peer.answer(1).message) == expected_chances(case, 1)


def test_fields_after_the_body_end_a_call(peer: Peer) -> None:
    peer.send(headers(1, peer.block()), data(1, prefixed(b"")))
    peer.send(headers(1, Encoder().encode([("x-checksum", "1")]), "END_HEADERS", "END_STREAM"))
    assert peer.answer(1).message == b"\x08\x01"


def test_block_is_read_anew_when_the_table_that_it_refers_to_has_changed(peer: Peer) -> None:
    """The same bytes, `:path` as entry 62 of the table, mean one method and then another."""

    def added(method: str) -> bytes:
        path = f"{SERVICE}/{method}".encode()
        return b"\x83\x86\x44" + bytes((len(path),)) + path + b"\x0f\x10\x10application/grpc"

    same = b"\x83\x86\xbe\x0f\x10\x10application/grpc"
    metadata = oip_pb2.ServerMetadataResponse
    streams = iter(range(1, 99, 2))
    for method, is_right in (
        ("ServerLive", lambda answer: answer.message == b"\x08\x01"),
        ("ServerMetadata", lambda answer: metadata.FromString(answer.message).name == "bulkhead"),
        ("Nothing", lambda answer: answer.status == 12),
    ):
        for block in (added(method), same, same, same):
            stream = next(streams)
            peer.send(*call_frames(stream, block))
            assert is_right(peer.answer(stream))
    peer.send(
        *call_frames(next(streams), b"\x20\x3f\xe1\x1f" + added("ServerLive"))
    )  # the table emptied, and as large as before
    peer.send(*call_frames(next(streams), same))
    assert peer.answer(27).message == b"\x08\x01"
    peer.send(*call_frames(next(streams), b"\x20" + same))
    assert peer.until_gone() == "COMPRESSION_ERROR"  # entry 62 is gone


def test_pings_and_settings_are_acknowledged_in_order(peer: Peer) -> None:
    peer.send(PingFrame(opaque_data=b"one by o"), SettingsFrame(settings={}), PingFrame(opaque_data=b"ne......"))
    peer.call(1)
    assert peer.answer(1).ended
    acknowledged = [frame for frame in peer.frames if "ACK" in frame.flags]
    assert [getattr(frame, "opaque_data", None) for frame in acknowledged] == [None, b"one by o", None, b"ne......"]


# ---- what is against the rules ----

BLOCK = Encoder().encode(
    [(":method", "POST"), (":scheme", "http"), (":path", LIVE), ("content-type", "application/grpc")]
)


def fields(*changed: tuple[str, str], without: str = "") -> bytes:
    right = [(":method", "POST"), (":scheme", "http"), (":path", LIVE), ("content-type", "application/grpc")]
    return Encoder().encode([*(pair for pair in right if pair[0] != without), *changed])


CONNECTION_FAULTS: dict[str, tuple[str, list[Frame | bytes]]] = {
    "a frame longer than 16 KiB": ("FRAME_SIZE_ERROR", [raw(DATA, 0, 1, length=16385)]),
    "DATA of no stream": ("PROTOCOL_ERROR", [raw(DATA, 0, 0, b"x")]),
    "DATA of a stream that was never opened": ("PROTOCOL_ERROR", [raw(DATA, 0, 5, b"x")]),
    "HEADERS of no stream": ("PROTOCOL_ERROR", [raw(HEADERS, END_HEADERS, 0, BLOCK)]),
    "HEADERS of an even stream": ("PROTOCOL_ERROR", [raw(HEADERS, END_HEADERS, 2, BLOCK)]),
    "HEADERS without room for its priority": (
        "FRAME_SIZE_ERROR",
        [raw(HEADERS, END_HEADERS | WITH_PRIORITY, 1, b"1234")],
    ),
    "more padding than HEADERS": ("PROTOCOL_ERROR", [raw(HEADERS, END_HEADERS | PADDED, 1, b"\x05abcd")]),
    "more padding than DATA": ("PROTOCOL_ERROR", [headers(1, BLOCK), raw(DATA, PADDED, 1, b"\x01")]),
    "padding without a length": ("PROTOCOL_ERROR", [headers(1, BLOCK), raw(DATA, PADDED, 1)]),
    "a block that cannot be decoded": ("COMPRESSION_ERROR", [headers(1, b"\xff\xff\xff\xff\xff\xff")]),
    "an entry of the table that there is not": ("COMPRESSION_ERROR", [headers(1, b"\xbf")]),
    "a cut string": ("COMPRESSION_ERROR", [headers(1, b"\x40\x0aabc")]),
    "a table larger than allowed": ("COMPRESSION_ERROR", [headers(1, b"\x3f\xff\xff\x7f" + BLOCK)]),
    "a size of the table within a block": ("COMPRESSION_ERROR", [headers(1, BLOCK + b"\x20")]),
    "a padded Huffman code": ("COMPRESSION_ERROR", [headers(1, b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff")]),
    "a frame within a block": ("PROTOCOL_ERROR", [headers(1, BLOCK[:5], "END_STREAM"), raw(PING, 0, 0, b"12345678")]),
    "a block of another stream within a block": (
        "PROTOCOL_ERROR",
        [headers(1, BLOCK[:5], "END_STREAM"), continuation(3, BLOCK[5:], "END_HEADERS")],
    ),
    "CONTINUATION of nothing": ("PROTOCOL_ERROR", [continuation(1, BLOCK, "END_HEADERS")]),
    "CONTINUATION after the end of a block": (
        "PROTOCOL_ERROR",
        [headers(1, BLOCK), continuation(1, b"", "END_HEADERS")],
    ),
    "PRIORITY of no stream": ("PROTOCOL_ERROR", [raw(PRIORITY, 0, 0, b"12345")]),
    "RST_STREAM of no stream": ("PROTOCOL_ERROR", [raw(RST_STREAM, 0, 0, b"1234")]),
    "RST_STREAM of a stream that was never opened": ("PROTOCOL_ERROR", [raw(RST_STREAM, 0, 7, b"1234")]),
    "RST_STREAM of 3 bytes": ("FRAME_SIZE_ERROR", [headers(1, BLOCK), raw(RST_STREAM, 0, 1, b"123")]),
    "SETTINGS of a stream": ("PROTOCOL_ERROR", [raw(SETTINGS, 0, 1)]),
    "SETTINGS of 5 bytes": ("FRAME_SIZE_ERROR", [raw(SETTINGS, 0, 0, b"12345")]),
    "SETTINGS acknowledged with a payload": ("FRAME_SIZE_ERROR", [raw(SETTINGS, 1, 0, b"123456")]),
    "ENABLE_PUSH of 2": ("PROTOCOL_ERROR", [raw(SETTINGS, 0, 0, struct.pack(">HL", 2, 2))]),
    "INITIAL_WINDOW_SIZE of 2 GiB": ("FLOW_CONTROL_ERROR", [raw(SETTINGS, 0, 0, struct.pack(">HL", 4, 2**31))]),
    "MAX_FRAME_SIZE of 16383": ("PROTOCOL_ERROR", [raw(SETTINGS, 0, 0, struct.pack(">HL", 5, 16383))]),
    "MAX_FRAME_SIZE of 16 MiB": ("PROTOCOL_ERROR", [raw(SETTINGS, 0, 0, struct.pack(">HL", 5, 2**24))]),
    "a window that settings make too large": (
        "FLOW_CONTROL_ERROR",
        [headers(1, BLOCK), window(1, 2**31 - 65536), raw(SETTINGS, 0, 0, struct.pack(">HL", 4, 70000))],
    ),
    "PUSH_PROMISE": ("PROTOCOL_ERROR", [headers(1, BLOCK), raw(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + BLOCK)]),
    "PING of a stream": ("PROTOCOL_ERROR", [raw(PING, 0, 1, b"12345678")]),
    "PING of 6 bytes": ("FRAME_SIZE_ERROR", [raw(PING, 0, 0, b"123456")]),
    "GOAWAY of a stream": ("PROTOCOL_ERROR", [raw(GOAWAY, 0, 1, b"\0" * 8)]),
    "WINDOW_UPDATE of 0": ("PROTOCOL_ERROR", [raw(WINDOW_UPDATE, 0, 0, b"\0" * 4)]),
    "WINDOW_UPDATE of 3 bytes": ("FRAME_SIZE_ERROR", [raw(WINDOW_UPDATE, 0, 0, b"123")]),
    "WINDOW_UPDATE of a stream that was never opened": ("PROTOCOL_ERROR", [window(9, 1)]),
    "a window larger than 2 GiB": ("FLOW_CONTROL_ERROR", [window(0, 2**31 - 1)]),
    "more than the window of the connection": (
        "FLOW_CONTROL_ERROR",
        [b"".join(raw(PRIORITY, 0, 1, b"\0\0\0\3x") for _ in range(0))],
    ),
}
del CONNECTION_FAULTS["more than the window of the connection"]

STREAM_FAULTS: dict[str, tuple[str, list[Frame | bytes]]] = {
    "no method": ("PROTOCOL_ERROR", [headers(1, fields(without=":method"))]),
    "no scheme": ("PROTOCOL_ERROR", [headers(1, fields(without=":scheme"))]),
    "no path": ("PROTOCOL_ERROR", [headers(1, fields(without=":path"))]),
    "an empty path": (
        "PROTOCOL_ERROR",
        [headers(1, Encoder().encode([(":method", "POST"), (":scheme", "http"), (":path", "")]))],
    ),
    "two paths": ("PROTOCOL_ERROR", [headers(1, Encoder().encode([(":path", "/")]) + fields())]),
    "a pseudo field after others": ("PROTOCOL_ERROR", [headers(1, fields((":authority", "x")))]),
    "a pseudo field of responses": ("PROTOCOL_ERROR", [headers(1, Encoder().encode([(":status", "200")]) + fields())]),
    "a name in upper case": ("PROTOCOL_ERROR", [headers(1, fields(("X-Upper", "1")))]),
    "a name with a blank": ("PROTOCOL_ERROR", [headers(1, fields(("x y", "1")))]),
    "an empty name": ("PROTOCOL_ERROR", [headers(1, fields(("", "1")))]),
    "a value with a line feed": ("PROTOCOL_ERROR", [headers(1, fields(("x", "a\nb")))]),
    "a value with a zero": ("PROTOCOL_ERROR", [headers(1, fields(("x", "a\0b")))]),
    "a value that starts with a blank": ("PROTOCOL_ERROR", [headers(1, fields(("x", " a")))]),
    "a field of connections": ("PROTOCOL_ERROR", [headers(1, fields(("connection", "close")))]),
    "te of something else": ("PROTOCOL_ERROR", [headers(1, fields(("te", "gzip")))]),
    "a priority of itself": ("PROTOCOL_ERROR", [headers(1, BLOCK, "END_HEADERS", "PRIORITY", depends_on=1)]),
    "PRIORITY of itself": ("PROTOCOL_ERROR", [headers(1, BLOCK), raw(PRIORITY, 0, 1, struct.pack(">LB", 1, 0))]),
    "PRIORITY of 6 bytes": ("FRAME_SIZE_ERROR", [headers(1, BLOCK), raw(PRIORITY, 0, 1, b"123456")]),
    "trailers that do not end the stream": ("PROTOCOL_ERROR", [headers(1, BLOCK), headers(1, b"\0\1x\1y")]),
    "WINDOW_UPDATE of 0": ("PROTOCOL_ERROR", [headers(1, BLOCK), raw(WINDOW_UPDATE, 0, 1, b"\0" * 4)]),
    "a window larger than 2 GiB": ("FLOW_CONTROL_ERROR", [headers(1, BLOCK), window(1, 2**31 - 1)]),
    "DATA after the end of the stream": ("STREAM_CLOSED", [*call_frames(1, BLOCK), data(1, b"x")]),
    "DATA after RST_STREAM": ("STREAM_CLOSED", [headers(1, BLOCK), RstStreamFrame(1, 8), data(1, b"x")]),
    "HEADERS after the end of the stream": ("STREAM_CLOSED", [*call_frames(1, BLOCK), headers(1, BLOCK)]),
}


@pytest.mark.parametrize("what", CONNECTION_FAULTS)
def test_connection_ends_when(what: str, peer: Peer) -> None:
    code, frames = CONNECTION_FAULTS[what]
    peer.send(*frames)
    assert peer.until_gone() == code


@pytest.mark.parametrize("what", STREAM_FAULTS)
def test_stream_alone_ends_when(what: str, peer: Peer) -> None:
    code, frames = STREAM_FAULTS[what]
    peer.send(*frames)
    while peer.answers.get(1) is None or peer.answers[1].reset is None:
        assert peer.read()
    assert peer.answers[1].reset == code
    assert peer.is_live(11)


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX",
        PREFACE + raw(PING, 0, 0, b"12345678"),
        b"\x16\x03\x01" * 9,
    ],
)
def test_connection_ends_when_it_does_not_begin_as_http_2(door: FrontDoor, start: bytes) -> None:
    with Peer(door.port, start=False) as peer:
        peer.send(start)
        assert peer.until_gone() == "PROTOCOL_ERROR"


def test_frames_are_dropped_when_their_call_was_refused_before_they_came(peer: Peer) -> None:
    peer.send(headers(1, peer.block(f"{SERVICE}/Nothing")))
    assert (peer.answer(1).status, peer.answer(1).fields[b"x-model-version"] != b"") == (12, True)
    peer.send(data(1, b"x" * 1000), data(1, b"y" * 1000), window(1, 10), data(1, b"", "END_STREAM"))
    assert peer.is_live(3)
    assert [frame for frame in peer.frames if isinstance(frame, RstStreamFrame)][0].error_code == 0
    assert peer.answers[1].reset == "NO_ERROR"
