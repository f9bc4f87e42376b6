"""Hostile requests, generated from one seed: their kind, protocol, and allowed answers.

Values hold CANARY wherever a text is possible, so that a value that is returned or logged is detected.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from drills.hostile.forms import Forms, http, mutated
from harness.bundles import Bundle

CANARY = "kilroy-was-here"
HTTP, RAW, GRPC = "HTTP", "bytes", "gRPC"
_NO_JSON_NUMBERS = ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400, "9" * 5000)
# No list of one value, since tensors may be nested.
_WRONG: dict[str, tuple[Any, ...]] = {
    "number": (CANARY, True, [CANARY, CANARY], {CANARY: 1}, 1e300, -1e300),
    "boolean": (CANARY, 7, 0.5, [CANARY, CANARY], {}),
    "category": ([CANARY, CANARY], {CANARY: CANARY}),
    "timestamp": (CANARY, 17, True, [], f"2013-13-45T99:99 {CANARY}"),
}
_PICKLES = ("application/vnd.bentoml+pickle", "application/x-pickle", "application/python-pickle", "application/pickle")
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")
_TYPES = (
    "application/json",
    "application/octet-stream",
    "text/plain",
    "multipart/form-data",
    "",
    ";",
    "a/b; charset=x",
)
_PATHS = (
    "/",
    "/predict",
    "/v2",
    "/v2/health/ready",
    "/livez",
    "/docs.json",
    "/schema.json",
    "/static_content/swagger-ui.css",
)
_ODD = ("..", "%00", "%2e%2e", "%ff%fe", "//", "/v2", "infer", "versions", "?", "?a=b&a", "%", ";", "~", "*", "\\", "'")
_REFUSED = frozenset({"400", "413", "415", "422"})
_INVALID = frozenset({"INVALID_ARGUMENT"})
# A mutated request may have become anything, so any answer is right except a server error.
_SANE = frozenset({"200", "400", "401", "404", "405", "408", "413", "414", "415", "422", "431", "501", "505"})
_SANE_GRPC = frozenset({"OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED"})
# Not HTTP any more: the server may also end the connection without an answer.
_SANE_BYTES = _SANE | {"closed"}


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        fault: its number in the catalogue of faults; 0 for a right request.
        method: of HTTP, or the name of a method of the inference service.
        content: all bytes of an HTTP request, or the message of a gRPC one.
        allowed: HTTP statuses, or names of gRPC ones.
        answer: the prediction that `/predict` must give; None accepts any.
        flagged: the field that the prediction must name in `fallbacks`.
    """

    fault: int
    kind: str
    protocol: str
    method: str
    content: bytes
    allowed: frozenset[str]
    answer: dict[str, Any] | None = None
    flagged: str | None = None


class Maker:
    """A generator of requests for one model.

    Args:
        marker: a file that a pickle would make if anybody loaded it.
    """

    def __init__(self, bundle: Bundle, marker: str) -> None:
        self._forms = Forms(bundle)
        self._max_rows = bundle.limits.max_rows
        self._pickle = f"cposix\nsystem\n(S'touch {marker}'\ntR.".encode()
        kinds = {field["kind"] for field in self._forms.fields.values()}
        self._makers: list[Callable[[random.Random], Request]] = [
            *(self.right, self.cut, self.nested, self.multipart, self.wrong_type, self.too_many_rows, self.pickle),
            *(self.mutated_body, self.mutated_body, self.mutated_head, self.mutated_head, self.mutated_bytes),
            *(self.grpc_mutated, self.grpc_mutated, self.grpc_nested, self.grpc_wrong_type, self.grpc_too_many_rows),
            *((self.not_a_number, self.grpc_not_a_number) if "number" in kinds else ()),
            *((self.unknown_category, self.grpc_unknown_category) if "category" in kinds else ()),
            *(self.grpc_pickle, self.grpc_right, self.grpc_method),
        ]

    def make(self, seed: int, number: int) -> Request:
        """Return the request of that number, the same for the same seed."""
        chance = random.Random(f"{seed}:{number}")  # no secret depends on it
        return self._makers[number % len(self._makers)](chance)

    # ---- over HTTP ----

    def right(self, chance: random.Random) -> Request:
        """Return a right request and its golden answer."""
        case = self._forms.case(chance)
        body = json.dumps({"rows": [case["row"]]}).encode()
        return self._predict(0, "a right request", body, frozenset({"200"}), case["answer"])

    def cut(self, chance: random.Random) -> Request:
        """Return a truncated body."""
        path, body, headers = self._forms.body(chance)
        length = int(dict(headers).get("Inference-Header-Content-Length", len(body)))
        content = http("POST", path, body[: chance.randrange(length)], headers[0])
        return Request(23, "broken JSON", HTTP, "POST", content, frozenset({"400"}))

    def nested(self, chance: random.Random) -> Request:
        """Return deeply nested JSON."""
        depth = chance.choice((500, 2000, 2000, 2000, 10_000, 100_000))
        opening, closing = chance.choice((("[", "]"), ('{"rows":', "}"), ('{"inputs":', "}")))
        text = opening * depth + "1" + closing * chance.choice((0, depth))
        path = chance.choice(("/predict", self._forms.infer))
        content = http("POST", path, text.encode(), ("Content-Type", "application/json"))
        return Request(23, "deep nesting", HTTP, "POST", content, _REFUSED)

    def multipart(self, chance: random.Random) -> Request:
        """Return a multipart form."""
        part = f'--x\r\nContent-Disposition: form-data; name="rows"; filename="{CANARY}"\r\n\r\n{CANARY}\r\n--x--\r\n'
        content_type = ("Content-Type", chance.choice(("multipart/form-data; boundary=x", "multipart/mixed")))
        path = chance.choice(("/predict", self._forms.infer))
        content = http("POST", path, mutated(chance, part.encode()), content_type)
        return Request(23, "malformed multipart", HTTP, "POST", content, frozenset({"415"}))

    def wrong_type(self, chance: random.Random) -> Request:
        """Return a row with a value of a wrong type."""
        row = self._forms.row(chance)
        name = chance.choice(list(self._forms.fields))
        row[name] = chance.choice(_WRONG[self._forms.fields[name]["kind"]])
        if chance.random() < 0.5:
            return self._predict(23, "a wrong type", json.dumps({"rows": [row]}).encode(), frozenset({"422"}))
        return self._oip(23, "a wrong type", json.dumps(self._forms.tensors(row)).encode(), frozenset({"400"}))

    def too_many_rows(self, chance: random.Random) -> Request:
        """Return more rows than allowed, in the body or by a tensor's shape."""
        rows = self._max_rows + chance.choice((1, 10, 1000))
        if chance.random() < 0.5:
            body = json.dumps({"rows": [{}] * rows}).encode()
            return self._predict(24, "too many rows", body, frozenset({"413"}))
        request = self._forms.tensors(self._forms.row(chance))
        for entry in request["inputs"]:
            entry["shape"] = [chance.choice((rows, 2**31, 2**63, 10**30))]
        return self._oip(24, "too many rows", json.dumps(request).encode(), frozenset({"413"}))

    def not_a_number(self, chance: random.Random) -> Request:
        """Return NaN, an infinity, or a number beyond a double."""
        row = {**self._forms.row(chance), self._forms.any_field(chance, "number"): CANARY}
        token = chance.choice(_NO_JSON_NUMBERS)

        def body(value: Any) -> bytes:
            return json.dumps(value).replace(f'"{CANARY}"', token).encode()

        if chance.random() < 0.5:
            return self._predict(25, "not a number", body({"rows": [row]}), frozenset({"400", "422"}))
        return self._oip(25, "not a number", body(self._forms.tensors(row)), frozenset({"400"}))

    def unknown_category(self, chance: random.Random) -> Request:
        """Return a row with an unknown category, some optional fields left out."""
        name = self._forms.any_field(chance, "category")
        row = {**self._forms.row(chance), name: f"{CANARY}{chance.choice(('', chr(0), chr(0x1F980)))}"}
        optional = [other for other in row if not self._forms.fields[other]["required"] and other != name]
        for other in chance.sample(optional, chance.randrange(len(optional) + 1)):
            del row[other]
        body = json.dumps({"rows": [row]}).encode()
        return self._predict(26, "an unknown category", body, frozenset({"200"}), flagged=name)

    def pickle(self, chance: random.Random) -> Request:
        """Return a pickle, which would run a command if loaded, on some path."""
        content_type = "".join(chance.choice((str.lower, str.upper))(letter) for letter in chance.choice(_PICKLES))
        path = chance.choice((*_PATHS, "/metrics", "/nowhere", self._forms.infer))
        content = http("POST", path, self._pickle, ("Content-Type", content_type + chance.choice(("", "; a=b"))))
        return Request(27, "a pickle", HTTP, "POST", content, frozenset({"415"}))

    def mutated_body(self, chance: random.Random) -> Request:
        """Return a mutated body."""
        path, body, headers = self._forms.body(chance)
        content = http("POST", path, mutated(chance, body), *headers)
        return Request(23, "a mutated body", HTTP, "POST", content, _SANE)

    def mutated_head(self, chance: random.Random) -> Request:
        """Return a mutated head."""
        path, body, headers = self._forms.body(chance)
        method = chance.choice((*_METHODS, "POST", "POST"))
        if chance.random() < 0.5:
            pieces = [chance.choice((*_ODD, self._forms.model, "x" * chance.choice((1, 300, 3000)))) for _ in range(4)]
            path = chance.choice((*_PATHS, path)) + chance.choice(("", "/")) + "/".join(pieces[: chance.randrange(5)])
        odd = [
            ("Content-Type", chance.choice(_TYPES)),
            ("Content-Encoding", chance.choice(("gzip", "identity", "br", ""))),
            ("Inference-Header-Content-Length", chance.choice(("0", "-1", "1", "9" * 30, "x", "\xb2", str(len(body))))),
            ("Expect", "100-continue"),
            ("Accept", chance.choice(("", "*/*", "application/x-pickle"))),
            ("X-" + "a" * chance.choice((1, 200)), "b" * chance.choice((0, 10, 4000))),
            ("Connection", chance.choice(("close", "keep-alive", "x"))),
        ]
        headers += chance.sample(odd, chance.randrange(4))
        if chance.random() < 0.2:
            headers.append(("Transfer-Encoding", "chunked"))
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        return Request(23, "a mutated head", HTTP, method, http(method, path, body, *headers), _SANE)

    def mutated_bytes(self, chance: random.Random) -> Request:
        """Return mutated bytes of a whole request."""
        path, body, headers = self._forms.body(chance)
        content = mutated(chance, http("POST", path, body, *headers))
        return Request(23, "mutated HTTP", RAW, "POST", content, _SANE_BYTES)

    # ---- over gRPC ----

    def grpc_right(self, chance: random.Random) -> Request:
        message = self._forms.message(self._forms.row(chance), raw=chance.random() < 0.5)
        return self._grpc(0, "a right request", message.SerializeToString(), frozenset({"OK"}))

    def grpc_mutated(self, chance: random.Random) -> Request:
        message = self._forms.message(self._forms.row(chance), raw=chance.random() < 0.5)
        return self._grpc(23, "a mutated message", mutated(chance, message.SerializeToString()), _SANE_GRPC)

    def grpc_nested(self, chance: random.Random) -> Request:
        depth = chance.choice((200, 1000, 100_000))
        group = chance.choice((b"\x0b", b"\x7b"))  # the start of an unknown group within an unknown group
        return self._grpc(23, "deep nesting", group * depth, _INVALID)

    def grpc_wrong_type(self, chance: random.Random) -> Request:
        message = self._forms.message(self._forms.row(chance), raw=True)
        index = chance.randrange(len(message.inputs))
        entry = message.inputs[index]
        entry.datatype = "FP64" if entry.datatype == "BYTES" else "BYTES"
        message.raw_input_contents[index] = struct.pack("<I", len(CANARY)) + CANARY.encode()
        return self._grpc(23, "a wrong type", message.SerializeToString(), _INVALID)

    def grpc_too_many_rows(self, chance: random.Random) -> Request:
        message = self._forms.message(self._forms.row(chance), raw=chance.random() < 0.5)
        for entry in message.inputs:
            entry.shape[0] = self._max_rows + chance.choice((1, 1000, 2**31, 2**62))
        return self._grpc(24, "too many rows", message.SerializeToString(), frozenset({"RESOURCE_EXHAUSTED"}))

    def grpc_not_a_number(self, chance: random.Random) -> Request:
        name = self._forms.any_field(chance, "number")
        value = float(chance.choice(("inf", "-inf", *(["nan"] if self._forms.fields[name]["required"] else []))))
        message = self._forms.message({**self._forms.row(chance), name: value}, raw=chance.random() < 0.5)
        return self._grpc(25, "not a number", message.SerializeToString(), _INVALID)

    def grpc_unknown_category(self, chance: random.Random) -> Request:
        row = {**self._forms.row(chance), self._forms.any_field(chance, "category"): CANARY}
        message = self._forms.message(row, raw=chance.random() < 0.5)
        return self._grpc(26, "an unknown category", message.SerializeToString(), frozenset({"OK"}))

    def grpc_pickle(self, chance: random.Random) -> Request:  # noqa: ARG002  # there is one
        return self._grpc(27, "a pickle", self._pickle, _INVALID)

    def grpc_method(self, chance: random.Random) -> Request:
        methods = ("ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "Nothing", "ModelInfer/x")
        content = chance.choice((b"", chance.randbytes(chance.randrange(100))))
        return Request(23, "a mutated call", GRPC, chance.choice(methods), content, _SANE_GRPC)

    # ---- parts of requests ----

    def _predict(
        self,
        fault: int,
        kind: str,
        body: bytes,
        allowed: frozenset[str],
        answer: dict[str, Any] | None = None,
        flagged: str | None = None,
    ) -> Request:
        content = http("POST", "/predict", body, ("Content-Type", "application/json"))
        return Request(fault, kind, HTTP, "POST", content, allowed, answer, flagged)

    def _oip(self, fault: int, kind: str, body: bytes, allowed: frozenset[str]) -> Request:
        return Request(fault, kind, HTTP, "POST", http("POST", self._forms.infer, body), allowed)

    def _grpc(self, fault: int, kind: str, content: bytes, allowed: frozenset[str]) -> Request:
        return Request(fault, kind, GRPC, "ModelInfer", content, allowed)
