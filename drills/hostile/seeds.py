"""The corpus of the coverage-guided fuzzer, for each target: right inputs, and words that chance would take long to find."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from hpack import Encoder

from bentos.protocols.grpc.status import with_prefix
from bentos.protocols.http2 import frames
from drills.hostile.forms import Forms, http, wire
from harness.bundles import Bundle

_WORDS = (
    *["NaN", "Infinity", "1e999", "-0", "null", "true", "\\u0000", "\\ud800", "[[[["],
    "1" * 30,
    '{"',
    '":',
    "\r\n\r\n",
    "0\r\n",
)
_NAMES = [
    "rows",
    "inputs",
    "outputs",
    "name",
    "datatype",
    "shape",
    "data",
    "parameters",
    "binary_data_size",
    "FP64",
    "INT64",
    "BOOL",
]
_HEADS = (
    "HEAD ",
    "GET ",
    "Expect: 100-continue",
    "Upgrade: h2c",
    "Connection: ",
    "Content-Length: ",
    "Transfer-Encoding: chunked",
)


def seeds(bundle: Bundle, target: str) -> list[bytes]:
    """Return right inputs to begin with."""
    forms, chance = Forms(bundle), Random(1)
    bodies = [forms.body(chance) for _ in range(30)]
    if target in ("json", "predict"):
        return [body for path, body, _ in bodies if path == "/predict"]
    if target == "tensors":
        return [wire(entry) for entry in forms.tensors(forms.row(chance))["inputs"]]
    if target == "infer":
        lengths = [int(dict(headers).get("Inference-Header-Content-Length", 0)) for _, _, headers in bodies]
        return [
            length.to_bytes(2, "big") + body
            for length, (path, body, _) in zip(lengths, bodies, strict=True)
            if path != "/predict"
        ]
    if target == "grpc":
        return [b"\x00" + each for each in _calls(forms, chance)]
    whole = [http("POST", path, body, *headers) for path, body, headers in bodies]
    chunked = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: y\r\n\r\n"
    pages = [http("GET", path) for path in ("/", "/livez", "/v2", "/v2/health/ready", "/metrics")]
    return [b"\x00" + each for each in (*whole, *pages, chunked, b"".join(pages), b"".join(whole[:3]))]


def _calls(forms: Forms, chance: Random) -> Iterator[bytes]:
    """Yield calls on one stream, in frames of many kinds, and several calls on several streams."""
    service, encoder = "/inference.GRPCInferenceService", Encoder()

    def call(stream: int, path: str, message: bytes) -> bytes:
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            "content-type": "application/grpc",
            "te": "trailers",
        }
        block = encoder.encode(list(fields.items()))
        data = frames.frame(frames.DATA, frames.END_STREAM, stream, with_prefix(message))
        return frames.frame(frames.HEADERS, frames.END_HEADERS, stream, block) + data

    messages = [forms.message(forms.row(chance), raw=raw).SerializeToString() for raw in (True, False) * 5]
    yield from (call(1, f"{service}/ModelInfer", message) for message in messages)
    yield b"".join(call(2 * index + 1, f"{service}/ModelInfer", message) for index, message in enumerate(messages[:4]))
    for path in (
        f"{service}/ServerLive",
        f"{service}/ModelMetadata",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
    ):
        yield call(1, path, b"")
    yield call(1, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", b"\x3a\x00")
    yield (
        frames.frame(frames.PING, 0, 0, b"12345678")
        + frames.window_update(0, 9)
        + call(1, f"{service}/ServerReady", b"")
    )
    yield call(1, f"{service}/ServerReady", b"")[:40] + frames.rst_stream(1, frames.ErrorCode.CANCEL)
    yield frames.frame(frames.HEADERS, 0, 1, b"") + frames.frame(
        frames.CONTINUATION, frames.END_HEADERS, 1, b"\x83\x86\x84"
    )


def dictionary(bundle: Bundle) -> str:
    """Return words that chance would take long to find, in libFuzzer's format."""
    names = (*_NAMES, *bundle.kinds)
    words = (*_WORDS, *_HEADS, *(f'"{name}"' for name in names))
    escaped = ("".join(map(r"\x{:02x}".format, word.encode())) for word in words)
    return "".join(f'"{word}"\n' for word in escaped)
