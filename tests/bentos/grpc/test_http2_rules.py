"""HTTP/2 over real sockets: what breaks the rules of the RFCs ends the stream or the connection, with the right code."""

from __future__ import annotations

import struct

import pytest
from hpack import Encoder
from hyperframe.frame import Frame, RstStreamFrame

from tests.bentos.grpc.http2_peer import (
    BLOCK,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SERVICE,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    Peer,
    call_frames,
    continuation,
    data,
    fields,
    headers,
    prefixed,
    raw,
    window,
)
from tests.bentos.http.http_server import FrontDoor

pytestmark = pytest.mark.usefixtures("nothing_is_left_or_logged")


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
    "HEADERS after the end of a stream": ("STREAM_CLOSED", [*call_frames(1, BLOCK), headers(1, BLOCK)]),
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
}

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
    "pseudo fields in trailers": (
        "PROTOCOL_ERROR",
        [headers(1, BLOCK), headers(1, BLOCK, "END_HEADERS", "END_STREAM")],
    ),
    "a length that is none": (
        "PROTOCOL_ERROR",
        [headers(1, fields(("content-length", "9" * 5000))), data(1, prefixed(b""), "END_STREAM")],
    ),
    "another length than declared": (
        "PROTOCOL_ERROR",
        [headers(1, fields(("content-length", "6"))), data(1, prefixed(b""), "END_STREAM")],
    ),
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
    assert peer.answers[1].reset == "NO_ERROR"
