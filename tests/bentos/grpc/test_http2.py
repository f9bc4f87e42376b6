"""HTTP/2 over real sockets: what the RFCs allow is answered, to the end of a connection, and a server lives on whatever comes."""

from __future__ import annotations

import random
import socket
import struct
import weakref

import pytest
from hpack import Encoder
from hyperframe.frame import Frame, PingFrame, RstStreamFrame, SettingsFrame

from bentos.core import Core
from bentos.protos import oip_pb2
from harness.waiting import until
from tests.bentos.conftest import Case
from tests.bentos.grpc.client import chances, expected_chances, many_rows
from tests.bentos.grpc.http2_peer import (
    BLOCK,
    GOAWAY,
    INFER,
    PREFACE,
    PRIORITY,
    SERVICE,
    Peer,
    call_frames,
    continuation,
    data,
    grpc_door,
    headers,
    prefixed,
    raw,
    suppressed_resets,
    window,
)
from tests.bentos.http.http_server import FrontDoor

pytestmark = pytest.mark.usefixtures("nothing_is_left_or_logged")


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
