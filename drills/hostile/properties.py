"""Properties of every request, tested by hypothesis against a running server; a failure is shrunk to the smallest one.

    python -m drills.hostile.properties BUNDLE --http HOST:PORT --grpc HOST:PORT [--examples N] [--seed S] [--pid P]

N examples of each property. Prints JSON: `requests` (by property: the number sent), `failed` (by property: the failure, with the smallest
example), `warm_mb` and `end_mb` (memory of process P and its children after the first property and after all). Ends with 1 if
one failed.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from bentos.protos import oip_pb2
from drills.hostile import forms, options, rows
from drills.hostile.fuzz import Grpc, Http, resident_mb
from drills.hostile.requests import CANARY, GRPC, HTTP, Request
from harness.bundles import Bundle

_NO_STATUS: frozenset[str] = frozenset()
_JSON = ("Content-Type", "application/json")
_TOKEN = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"), min_size=1, max_size=20)
_VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
# Other characters begin another request, or end the head.
_TARGET = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60)
_KNOWN_HEADS = st.sampled_from(
    [
        _JSON,
        ("Content-Type", "application/x-pickle"),
        ("Content-Type", "application/octet-stream"),
        ("Content-Encoding", "gzip"),
        ("Connection", "close"),
        ("Connection", "upgrade"),
        ("Upgrade", "h2c"),
        ("Inference-Header-Content-Length", "7"),
    ]
)


class Server:
    """A client of the server that counts its requests."""

    def __init__(self, http: str, grpc: str, bundle: Path) -> None:
        self._http, self._grpc = Http(http), Grpc(grpc)
        self.forms = forms.Forms(Bundle(bundle))
        self.requests = 0
        document = json.loads(self.ask("GET", "/docs.json")[1])
        self.row: rows.Schema = document["components"]["schemas"]["Row"]

    def ask(self, method: str, path: str, body: bytes = b"", *headers: tuple[str, str]) -> tuple[str, bytes]:
        """Send a request on the kept connection; return status and body."""
        self.requests += 1
        content = forms.http(method, path, body, *headers)
        return self._http.send(Request(0, "", HTTP, method, content, _NO_STATUS))

    def ask_once(self, method: str, path: str, body: bytes, *headers: tuple[str, str]) -> tuple[str, bytes]:
        """Send a request on a connection of its own, headers in Latin-1; return the status of the last answer, and all bytes."""
        self.requests += 1
        content = forms.http(method, path, body, *headers, encoding="latin-1")
        return self._http.send_bytes(Request(0, "", HTTP, method, content, _NO_STATUS))

    def predict(self, value: Any) -> tuple[str, Any]:
        """Send a body to `/predict`; return status and answer."""
        status, body = self.ask("POST", "/predict", json.dumps(value).encode(), _JSON)
        return status, json.loads(body)

    def infer(self, row: rows.Row) -> tuple[str, Any]:
        """Send a row to `/v2` as JSON tensors; return status and answer."""
        status, body = self.ask("POST", self.forms.infer, json.dumps(self.forms.tensors(row)).encode(), _JSON)
        return status, json.loads(body)

    def infer_grpc(self, row: rows.Row, *, raw: bool) -> tuple[str, bytes]:
        """Send a row over gRPC; return status and answer."""
        self.requests += 1
        content = self.forms.message(row, raw=raw).SerializeToString()
        return self._grpc.send(Request(0, "", GRPC, "ModelInfer", content, _NO_STATUS))


Property = Callable[[Server], Callable[..., None]]


def allowed_rows_are_answered_alike(server: Server) -> Callable[..., None]:
    """Check that rows allowed by the OpenAPI document are answered, over all protocols with the same numbers, bit for bit."""

    @given(rows.allowed(server.row), st.booleans())
    def check(row: rows.Row, raw: bool) -> None:
        status, answer = server.predict({"rows": [row]})
        assert status == "200", answer
        (prediction,) = answer["predictions"]
        assumed = prediction.pop("fallbacks", [])
        assert {entry["field"] for entry in assumed} <= {*server.row["properties"]}
        status, answer = server.infer(row)
        assert status == "200", answer
        said = json.loads(answer.get("parameters", {}).get("fallbacks", "[]"))
        assert said == [{**entry, "rows": [0]} for entry in assumed]
        for output in answer["outputs"]:
            value = prediction[output["name"]]
            assert output["data"] == (list(value.values()) if isinstance(value, dict) else [value])
        status, content = server.infer_grpc(row, raw=raw)
        assert status == "OK", content
        message = oip_pb2.ModelInferResponse.FromString(content)
        assert json.loads(message.parameters["fallbacks"].string_param or "[]") == said

    return check


def forbidden_values_are_named_and_not_repeated(server: Server) -> Callable[..., None]:
    """Check that forbidden values are rejected by the name of their field and without the value."""

    @given(rows.forbidden(server.row))
    def check(found: tuple[rows.Row, str]) -> None:
        row, name = found
        status, answer = server.predict({"rows": [row]})
        assert status == "422", answer
        fields = {detail["field"] for detail in answer["error"]["details"]}
        assert fields == {name}
        assert name == CANARY or CANARY not in json.dumps(answer)
        is_number = name != CANARY and server.row["properties"][name]["type"] == "number"
        if is_number and isinstance(row.get(name), float):  # a tensor of this field can hold the value
            status, answer = server.infer(row)
            assert status == "400", answer
            assert name in answer["error"]
            code, said = server.infer_grpc(row, raw=True)
            assert code == "INVALID_ARGUMENT", said
            assert name.encode() in said

    return check


def rows_do_not_see_each_other(server: Server) -> Callable[..., None]:
    """Check that a row has the same answer alone and among others."""

    @given(st.lists(rows.allowed(server.row), min_size=2, max_size=5))
    def check(several: list[rows.Row]) -> None:
        status, together = server.predict({"rows": several})
        assert status == "200"
        for row, answer in zip(several, together["predictions"], strict=True):
            assert server.predict({"rows": [row]})[1]["predictions"] == [answer]

    return check


def anything_is_refused_or_answered(server: Server) -> Callable[..., None]:
    """Check that no JSON causes a server error."""
    paths = st.sampled_from(["/predict", server.forms.infer])
    rows_of = rows.anything | rows.anything.map(lambda value: {"rows": value}) | rows.anything.map(_inputs)

    @given(paths, rows_of)
    def check(path: str, value: Any) -> None:
        status, body = server.ask("POST", path, json.dumps(value).encode(), _JSON)
        assert status in ("200", "400", "413", "422"), body

    return check


def _inputs(value: Any) -> Any:
    return {"inputs": value if isinstance(value, list) else [value]}


def heads_are_refused_or_answered(server: Server) -> Callable[..., None]:
    """Check that no head causes a server error, or a prediction for an invalid body."""
    methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"]) | _TOKEN
    targets = st.sampled_from(["/predict", server.forms.infer, "/v2", "/", "/livez", "*"]) | _TARGET.map("/{}".format)

    @given(methods, targets, st.lists(st.tuples(_TOKEN, _VALUE) | _KNOWN_HEADS, max_size=8))
    def check(method: str, target: str, headers: list[tuple[str, str]]) -> None:
        kept = [pair for pair in headers if pair[0].lower() not in ("content-length", "transfer-encoding")]
        status, body = server.ask_once(method, target, b"{}", *kept)
        assert status in ("200", "400", "401", "404", "405", "413", "414", "415", "422", "431", "501"), body
        assert b'"predictions"' not in body

    return check


PROPERTIES: dict[str, Property] = {
    function.__name__: function
    for function in (
        allowed_rows_are_answered_alike,
        forbidden_values_are_named_and_not_repeated,
        rows_do_not_see_each_other,
        anything_is_refused_or_answered,
        heads_are_refused_or_answered,
    )
}


def check_all(server: Server, examples: int, seed: int, pid: int | None) -> dict[str, Any]:
    """Test each property with so many examples; return counts and failures."""
    limits = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.target, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    sent: Counter[str] = Counter()
    failed: dict[str, str] = {}
    warm_mb = 0.0
    for name, make in PROPERTIES.items():
        before = server.requests
        try:
            seeded(seed)(limits(make(server)))()
        except Exception as error:  # noqa: BLE001  # hypothesis raises the property's exception, or a group of them
            failed[name] = "\n".join([repr(error), *getattr(error, "__notes__", ())])[:2000]
        sent[name] = server.requests - before
        warm_mb = warm_mb or resident_mb(pid)
    return {"requests": sent, "failed": failed, "warm_mb": warm_mb, "end_mb": resident_mb(pid)}


def main(arguments: list[str] | None = None) -> int:
    """Test the properties; return 1 if one failed."""
    parser = options.parser("drills.hostile.properties", __doc__)
    parser.add_argument("--examples", type=int, default=2000)
    asked = parser.parse_args(arguments)
    found = check_all(Server(asked.http, asked.grpc, asked.bundle), asked.examples, asked.seed, asked.pid)
    print(json.dumps(found, indent=1))
    return 1 if found["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
