"""HTTP/2 over real sockets: what the RFCs allow is answered; what breaks their rules, floods, stalls or grows too large ends."""

from __future__ import annotations

import random
import socket
import struct
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from hpack import Encoder
from hyperframe.frame import Frame, PingFrame, RstStreamFrame, SettingsFrame

from bentos.core import Core
from bentos.protocols.connections.gate import SPARE_CONNECTIONS
from bentos.protos import oip_pb2
from harness.waiting import until
from tests.bentos.conftest import Case
from tests.bentos.grpc.http2_peer import (
    INFER,
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
from tests.bentos.grpc.test_grpc import typed_request
from tests.bentos.http.http_server import FrontDoor, limited

METADATA = f"{SERVICE}/ModelMetadata"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY = 1, 4, 8, 32


@pytest.fixture(autouse=True)
def nothing_is_left_or_logged(door: FrontDoor, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    until(lambda: not door.server.gate.connections and door.server.gate.held_bytes == 0)
    assert not caplog.records


def with_limits(core: Core, monkeypatch: pytest.MonkeyPatch, **limits: float) -> Any:
    limited(core, monkeypatch, **limits)
    return grpc_door(core)


def suppressed_resets() -> Any:
    """For what is sent to a server that may close meanwhile."""
    return suppress(ConnectionResetError, BrokenPipeError, TimeoutError)


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
            peer.send(window(1, 1000), window(0, 1000))
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
    content, streams = prefixed(many_rows(case, core, 1)), range(1, 101, 2)
    peer.send(*(headers(stream, peer.block(INFER)) for stream in streams))
    for start in range(0, len(content), 100):
        peer.send(*(data(stream, content[start : start + 100]) for stream in streams))
    peer.send(*(data(stream, b"", "END_STREAM") for stream in reversed(streams)))
    for stream in streams:
        assert chances(peer.answer(stream).message) == expected_chances(case, 1)


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


# ---- floods, stalls, and what grows ----

FLOODS: dict[str, Callable[[Peer], bytes]] = {
    "streams that are reset at once": lambda peer: b"".join(
        headers(stream, BLOCK).serialize() + RstStreamFrame(stream, 8).serialize() for stream in range(1, 6001, 2)
    ),
    "streams beyond those that may be open": lambda peer: b"".join(
        headers(stream, BLOCK).serialize() for stream in range(1, 6001, 2)
    ),
    "streams that are malformed": lambda peer: b"".join(
        headers(stream, fields(without=":path")).serialize() for stream in range(1, 6001, 2)
    ),
    "pings": lambda peer: PingFrame(opaque_data=b"12345678").serialize() * 3000,
    "settings": lambda peer: SettingsFrame(settings={4: 70000}).serialize() * 3000,
    "many settings at once": lambda peer: (
        SettingsFrame.serialize(SettingsFrame()) + raw(SETTINGS, 0, 0, struct.pack(">HL", 4, 9) * 65)
    ),
    "empty DATA": lambda peer: headers(1, BLOCK).serialize() + data(1, b"").serialize() * 3000,
    "priorities": lambda peer: raw(PRIORITY, 0, 1, struct.pack(">LB", 3, 0)) * 3000,
    "frames of unknown types": lambda peer: raw(77, 0, 0) * 3000,
    "windows that open by one byte": lambda peer: window(0, 1).serialize() * 3000,
    "empty CONTINUATION": lambda peer: (
        headers(1, b"", "END_STREAM").serialize() + continuation(1, b"").serialize() * 3000
    ),
    "CONTINUATION without end": lambda peer: (
        headers(1, b"", "END_STREAM").serialize()
        + continuation(1, b"\x00\x01x\x7f\xe1\x7d" + b"y" * 16000).serialize() * 9
    ),
    "fields that unpack to megabytes": lambda peer: headers(
        1, b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000 + b"\xbe" * 2000
    ).serialize(),
}


@pytest.mark.parametrize("what", FLOODS)
def test_flood_ends_its_connection(what: str, door: FrontDoor, peer: Peer) -> None:
    with suppressed_resets():
        peer.send(FLOODS[what](peer))
    assert peer.until_gone() == "ENHANCE_YOUR_CALM"
    with Peer(door.port) as other:
        assert other.is_live(1)


def test_control_frames_are_free_for_who_calls(peer: Peer) -> None:
    for stream in range(1, 1001, 2):
        peer.send(
            *[PingFrame(opaque_data=b"12345678")] * 4, headers(stream, BLOCK), data(stream, prefixed(b""), "END_STREAM")
        )
        assert peer.answer(stream).status == 0
    assert sum("ACK" in frame.flags for frame in peer.frames) == 2001


def test_who_reads_no_answers_is_left_alone_with_them(core: Core, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    """Neither its answers nor its requests pile up; the connection ends."""
    with with_limits(core, monkeypatch, body_timeout_s=1.0) as door, Peer(door.port) as peer:
        sent, block = 0, peer.block(METADATA)
        peer.send(window(0, 2**31 - 1 - 65535))
        message = oip_pb2.ModelMetadataRequest(name=core.name).SerializeToString()
        peer.socket.settimeout(0.5)
        with suppressed_resets():
            for stream in range(1, 2**20, 2):
                frames = b"".join(
                    frame.serialize()
                    for frame in call_frames(stream, block if stream == 1 else peer.block(METADATA), message)
                )
                peer.socket.sendall(frames)
                sent += len(frames)
        assert sent < 16 * 1024 * 1024  # the rest is in the sockets' buffers
        until(lambda: not door.server.gate.connections)


def test_answer_that_its_caller_never_takes_is_given_up(
    core: Core, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    with with_limits(core, monkeypatch, body_timeout_s=0.5) as door, Peer(door.port, initial_window_size=0) as peer:
        peer.call(1, METADATA, oip_pb2.ModelMetadataRequest(name=core.name).SerializeToString())
        assert peer.answer(1).reset == "CANCEL"
        assert not peer.answers[1].body
        assert door.server.gate.held_bytes == 0


def test_long_metadata_are_refused_and_not_the_connection_that_others_share(peer: Peer) -> None:
    block = peer.block(METADATA, ("x-long", "y" * 60_000))
    parts = [continuation(1, block[at : at + 16_000]) for at in range(16_000, len(block), 16_000)]
    parts[-1].flags.add("END_HEADERS")
    peer.send(headers(1, block[:16_000], "END_STREAM"), *parts)
    peer.call(3)
    assert (peer.answer(1).status, peer.answers[1].fields[b"grpc-retry-pushback-ms"]) == (8, b"-1")
    assert b"longer than 16384 bytes" in peer.answers[1].fields[b"grpc-message"]
    assert peer.answer(3).status == 0


def test_slow_caller_is_refused(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    with with_limits(core, monkeypatch, body_timeout_s=0.5, head_timeout_s=0.5) as door, ExitStack() as stack:
        silent, no_settings, half, dribble, no_body = (
            stack.enter_context(Peer(door.port, start=start)) for start in (False, False, True, True, True)
        )
        no_settings.send(PREFACE)
        half.send(headers(1, BLOCK[:5], "END_STREAM"))
        no_body.send(headers(1, BLOCK), data(1, prefixed(b"")[:3]))
        dribble.send(headers(1, BLOCK).serialize()[:20])
        gone = [peer.until_gone() for peer in (silent, no_settings, half, dribble)]
        assert gone == ["ENHANCE_YOUR_CALM"] * 4
        assert no_body.answer(1).status == 4
        assert b"did not arrive" in no_body.answers[1].fields[b"grpc-message"]
        assert no_body.is_live(3)


def test_connections_beyond_the_bound_may_only_ask_for_health(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    with with_limits(core, monkeypatch, max_connections=2) as door, ExitStack() as stack:
        peers = [stack.enter_context(Peer(door.port)) for _ in range(2)]
        assert all(peer.is_live(1) for peer in peers)
        crowded = [stack.enter_context(Peer(door.port)) for _ in range(SPARE_CONNECTIONS)]
        crowded[0].call(1, METADATA)
        assert crowded[0].answer(1).status == 8
        assert crowded[0].is_live(3)
        with Peer(door.port, start=False) as one_more:
            assert one_more.until_gone() == "ENHANCE_YOUR_CALM"
        assert all(peer.is_live(3) for peer in peers)


def test_what_is_held_is_bounded_over_all_connections(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    with with_limits(core, monkeypatch, pending_limit_bytes=500_000) as door, ExitStack() as stack:
        peers = [stack.enter_context(Peer(door.port)) for _ in range(4)]
        for peer in peers:
            peer.send(headers(1, BLOCK), data(1, struct.pack(">BL", 0, 900_000)))
            peer.send(*(data(1, b"x" * 16000) for _ in range(20)))
            if peer is peers[0]:
                until(lambda: door.server.gate.held_bytes == 320_005)
        statuses = [peer.answer(1).status for peer in peers[1:]]
        assert set(statuses) == {8}
        assert door.server.gate.held_bytes == 320_005
        assert peers[3].is_live(3)


def test_message_is_refused_by_its_prefix(peer: Peer, core: Core) -> None:
    for number, (prefix, status) in enumerate(
        [
            (struct.pack(">BL", 0, core.limits.body_limit_bytes + 1), 8),
            (struct.pack(">BL", 1, 10), 13),
            (b"\xff" * 5, 13),
        ]
    ):
        stream = 2 * number + 1
        peer.send(headers(stream, BLOCK), data(stream, prefix))
        assert peer.answer(stream).status == status
        while peer.answers[stream].reset is None:
            assert peer.read()
        assert (b"grpc-accept-encoding" in peer.answers[stream].fields) is (status == 12)


# ---- the end ----


def test_calls_are_answered_that_were_sent_before_their_caller_knew(
    door: FrontDoor, core: Core, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bentos.protocols.http2.connection._LOOK_S", 60)  # it ends no connection of itself meanwhile
    with grpc_door(core) as stopping, Peer(stopping.port) as peer:
        content = prefixed(many_rows(case, core, 2))
        peer.send(headers(1, peer.block(INFER)), data(1, content[:20]))
        assert peer.is_live(3)
        stopping.begin_to_stop()
        while peer.gone is None:
            assert peer.read()
        assert peer.is_live(5)  # on its way when the server told of its end
        (ping,) = [frame for frame in peer.frames if isinstance(frame, PingFrame)]
        peer.send(PingFrame(opaque_data=ping.opaque_data, flags=["ACK"]))
        peer.send(*call_frames(7, BLOCK), data(1, content[20:], "END_STREAM"))  # one too late
        assert chances(peer.answer(1).message) == expected_chances(case, 2)
        assert peer.frames[-1].stream_id == 1
        assert [frame.last_stream_id for frame in peer.frames if hasattr(frame, "last_stream_id")] == [2**31 - 1, 5]
        assert 7 not in peer.answers


def test_goaway_of_a_caller_lets_its_calls_end(peer: Peer) -> None:
    peer.send(headers(1, BLOCK), raw(GOAWAY, 0, 0, b"\0" * 8), data(1, prefixed(b""), "END_STREAM"))
    assert peer.answer(1).message == b"\x08\x01"
    assert peer.gone == "NO_ERROR"


# ---- anything ----


def mutated(chance: random.Random, content: bytes) -> bytes:
    """Some bytes of it changed, left out, doubled or put in."""
    changed = bytearray(content)
    for _ in range(chance.randrange(1, 8)):
        at = chance.randrange(len(changed))
        kind = chance.randrange(4)
        if kind == 0:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del changed[at : at + chance.randrange(1, 20)]
        elif kind == 2:
            changed[at:at] = chance.randbytes(chance.randrange(1, 20))
        else:
            changed[at:at] = changed[at : at + chance.randrange(1, 60)]
        if not changed:
            break
    return bytes(changed)


@pytest.mark.parametrize("seed", range(4))
def test_server_lives_on_when_anything_comes(seed: int, door: FrontDoor, case: Case, core: Core) -> None:
    """No answer is a defect (it would be logged), nothing is held in the end, and a right call is answered."""
    chance = random.Random(seed)
    encoder = Encoder()
    pairs = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", INFER),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    right: list[Frame | bytes] = [SettingsFrame(settings={4: 5000, 5: 20000}), window(0, 100_000)]
    right += call_frames(1, encoder.encode(pairs), many_rows(case, core, 2))
    right += [
        PingFrame(opaque_data=b"12345678"),
        headers(3, encoder.encode(pairs), "END_HEADERS", "PADDED", pad_length=9),
    ]
    right += [data(3, prefixed(many_rows(case, core, 1)), "END_STREAM"), RstStreamFrame(1, 8), window(3, 70)]
    frames = [frame.serialize() for frame in right if isinstance(frame, Frame)]
    for _ in range(150):
        chosen = chance.choices(frames, k=chance.randrange(1, 12)) if chance.random() < 0.3 else list(frames)
        with Peer(door.port, start=False) as peer, suppressed_resets():
            peer.send(PREFACE, frames[0], mutated(chance, b"".join(chosen)))
            peer.socket.shutdown(socket.SHUT_WR)
            peer.until_gone()
    with Peer(door.port) as peer:
        assert peer.is_live(1)


def test_connection_is_freed_at_its_end_without_the_collector(door: FrontDoor, no_collector: None) -> None:
    with Peer(door.port) as peer:
        assert peer.is_live(1)
        peer.send(headers(3, peer.block(INFER)))
        assert peer.is_live(5)
        (open_,) = door.look(lambda: [weakref.ref(each) for each in door.server.gate.connections])
    until(lambda: door.look(lambda: open_() is None))
