"""HTTP/2 over real sockets: what floods, stalls or grows too large is refused, or ends."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from hyperframe.frame import PingFrame, RstStreamFrame, SettingsFrame

from bentos.core import Core
from bentos.protocols.connections.gate import SPARE_CONNECTIONS
from bentos.protos import oip_pb2
from harness.waiting import until
from tests.bentos.conftest import Case
from tests.bentos.grpc.http2_peer import (
    BLOCK,
    METADATA,
    PREFACE,
    PRIORITY,
    SETTINGS,
    Peer,
    call_frames,
    continuation,
    data,
    fields,
    headers,
    prefixed,
    raw,
    suppressed_resets,
    window,
    with_limits,
)
from tests.bentos.http.http_server import FrontDoor

pytestmark = pytest.mark.usefixtures("nothing_is_left_or_logged")


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
