"""Compressed requests, over both protocols: read within the limit of a body, refused as each protocol has it, and never a bomb."""

from __future__ import annotations

import gzip
import json
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import grpc
import pytest

from bentos.core import Core
from bentos.errors import BodyTooLongError
from bentos.protocols.connections.compression import inflated
from bentos.protos import oip_pb2
from contract.errors import RequestError
from tests.bentos.caller import Caller
from tests.bentos.conftest import Case
from tests.bentos.grpc.client import Client, typed_request
from tests.bentos.grpc.http2_peer import INFER, LIVE, Peer, data, headers
from tests.bentos.http.http_server import FrontDoor
from tests.bentos.http.oip_requests import json_tensors

Compress = Callable[[bytes], bytes]
CODINGS = [("gzip", gzip.compress), ("deflate", zlib.compress)]
RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, INVALID_ARGUMENT = 8, 12, 13, 3


def json_body(coding: str) -> dict[str, str]:
    return {"content-type": "application/json", "content-encoding": coding}


@pytest.mark.parametrize(("coding", "compress"), CODINGS)
def test_answer_is_the_same_when_the_body_is_compressed(
    http: Caller, core: Core, case: Case, coding: str, compress: Compress
) -> None:
    body = json.dumps({"rows": case.rows}).encode()
    answer = http("POST", "/predict", compress(body), json_body(coding.upper()))
    assert answer.json["predictions"] == case.answers
    request = json.dumps({"inputs": json_tensors(case, case.rows), "outputs": [{"name": "label"}]}).encode()
    length = {"inference-header-content-length": str(len(request))}  # as tritonclient says it: of the plain body
    answer = http("POST", f"/v2/models/{core.name}/infer", compress(request), json_body(coding) | length)
    assert answer.json["outputs"][0]["data"] == [entry["label"] for entry in case.answers]


@pytest.mark.parametrize(("coding", "compress"), CODINGS)
def test_body_is_refused_when_it_is_longer_than_the_limit_once_inflated(
    http: Caller, core: Core, coding: str, compress: Compress
) -> None:
    limit = core.limits.body_limit_bytes
    for size, status in ((limit, 400), (limit + 1, 413), (300 * limit, 413)):
        bomb = compress(b" " * size)
        assert len(bomb) < limit
        tracemalloc.start()
        assert http("POST", "/predict", bomb, json_body(coding)).status == status
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * limit


@pytest.mark.parametrize(
    "body", [b"", b"{}", gzip.compress(b"{}")[:-3], gzip.compress(b"{}") + b"x", zlib.compress(b"{}")]
)
def test_body_is_refused_when_it_is_not_what_its_encoding_says(http: Caller, body: bytes) -> None:
    answer = http("POST", "/predict", body, json_body("gzip"))
    assert (answer.status, "gzip" in answer.json["error"]["message"]) == (400, True)


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "gzip, identity"])
def test_body_is_refused_unread_when_it_is_compressed_otherwise(http: Caller, core: Core, coding: str) -> None:
    """RFC 9110, 15.5.16: the answer says in Accept-Encoding what would have been taken."""
    for path in ("/predict", f"/v2/models/{core.name}/infer"):
        answer = http("POST", path, b"{}", json_body(coding))
        assert (answer.status, answer.headers["accept-encoding"], http.read) == (415, "gzip, deflate", False)
    assert http("POST", "/predict", b'{"rows": []}', json_body("identity")).status == 200


@pytest.mark.parametrize(("coding", "compress"), CODINGS)
def test_limit_is_that_of_the_plain_content(coding: str, compress: Compress) -> None:
    assert inflated(compress(b"abc"), coding.encode(), 3) == b"abc"
    with pytest.raises(BodyTooLongError):
        inflated(compress(b"abcd"), coding.encode(), 3)
    with pytest.raises(RequestError, match="whole stream"):
        inflated(compress(b"abc")[:-1], coding.encode(), 3)


# ---- gRPC: compression.md ----


@pytest.mark.parametrize("coding", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_answer_is_the_same_when_the_message_is_compressed(
    door: FrontDoor, core: Core, case: Case, coding: grpc.Compression
) -> None:
    content = Client(door.port).call("ModelInfer", typed_request(case, core, case.rows), compression=coding)
    probability, _ = oip_pb2.ModelInferResponse.FromString(content).outputs
    assert list(probability.contents.fp64_contents) == [entry["probability"] for entry in case.answers]


def flagged(message: bytes, flag: int = 1) -> bytes:
    return struct.pack(">BL", flag, len(message)) + message


def test_message_is_refused_as_grpc_has_it_when_it_cannot_be_inflated(peer: Peer, core: Core) -> None:
    packed, bomb = gzip.compress(b""), gzip.compress(b" " * (300 * core.limits.body_limit_bytes))
    cases: list[tuple[str | None, bytes, int]] = [
        ("gzip", flagged(packed), 0),
        ("gzip", flagged(b"", 0), 0),
        ("snappy", flagged(b"", 0), 0),
        (None, flagged(packed), INTERNAL),
        ("identity", flagged(packed), INTERNAL),
        ("gzip", flagged(packed, 2), INTERNAL),
        ("snappy", flagged(packed), UNIMPLEMENTED),
        ("gzip", flagged(b"plain"), INVALID_ARGUMENT),
        ("gzip", flagged(packed[:-1]), INVALID_ARGUMENT),
        ("gzip", flagged(bomb), RESOURCE_EXHAUSTED),
    ]
    for path in (LIVE, INFER):
        for coding, body, status in cases:
            stream = max(peer.answers, default=-1) + 2
            peer.send(headers(stream, peer.block(path, grpc_encoding=coding)))
            for start in range(0, len(body), 16384):
                peer.send(data(stream, body[start : start + 16384]))
            peer.send(data(stream, b"", "END_STREAM"))
            answer = peer.answer(stream)
            expected = status if status or path == LIVE else 5  # the empty message names no model
            assert (coding, answer.status) == (coding, expected)
            accepted = answer.fields.get(b"grpc-accept-encoding")
            assert accepted == (b"identity,gzip,deflate" if status == UNIMPLEMENTED else None)


def test_message_is_refused_by_its_prefix_when_its_coding_is_not_known(peer: Peer) -> None:
    for number, (coding, status) in enumerate([("snappy", UNIMPLEMENTED), (None, INTERNAL)]):
        stream = 2 * number + 1
        peer.send(headers(stream, peer.block(INFER, grpc_encoding=coding)), data(stream, struct.pack(">BL", 1, 10)))
        assert peer.answer(stream).status == status
