"""The Open Inference Protocol over HTTP, below `/v2`, with the binary-tensor extension."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

from bentos.core import Core
from bentos.errors import NotFoundError, one_line
from bentos.monitoring.tracing import MIRRORED, REQUEST_ID
from bentos.protocols import json_body
from bentos.protocols.http.exchange import (
    JSON,
    READS,
    WRITES,
    Headers,
    Response,
    check_encoding,
    media_type,
)
from bentos.protocols.oip import model as oip
from bentos.protocols.oip import tensors
from bentos.protocols.oip.kinds import FLOATS, INTEGERS
from bentos.protocols.oip.tensors import Given, Head, Tensor, TensorReader, TensorWriter, WireReader
from bentos.rounds import Unscored
from contract.errors import InvalidRowsError, Problem, RequestError, UnsupportedTypeError
from contract.model.columns.program import Assumed
from contract.model.predictor import Outputs

PREFIX = "/v2"
_HEAD_BYTES = 8192  # of the longest JSON before binary tensors to remember
_SIZES = re.compile(rb'("binary_data_size": ?)(0|[1-9][0-9]{0,11})(?=[,}\s])')
_NUMBERS = [b"%d" % number for number in range(_HEAD_BYTES // len('"binary_data_size":0'))]  # of all sizes in one
_HEADS = 1024  # to remember; each field has one for each number of rows
_REQUIRED = ("inputs",)  # members of a request; optional ones may also be null
_WRITTEN = frozenset(("infer", "index"))  # resources for POST
_BINARY = b"application/octet-stream"
_JSON_LENGTH = b"inference-header-content-length"
# The JSON values that a datatype may hold. A whole number is a number; true is not, though to Python it is an int.
_JSON_TYPES: dict[str, tuple[frozenset[type], str]] = {
    "BOOL": (frozenset({bool, type(None)}), "must be true or false"),
    "BYTES": (frozenset({str, type(None)}), "must be a string"),
    **{name: (frozenset({float, int, type(None)}), "must be a number") for name in FLOATS},
    **{name: (frozenset({int, type(None)}), "must be a whole number") for name in INTEGERS},
}


class Asked(NamedTuple):
    """The checked JSON of a request.

    Attributes:
        entries, heads, sizes: of its inputs; the size in bytes of a binary one, None if the values are in the JSON.
        read: the reader of the inputs if all are binary.
        outputs, binary_outputs: names of the requested outputs, and of the binary ones among them.
    """

    entries: Sequence[Mapping[str, Any]]
    heads: tuple[Head, ...]
    sizes: Sequence[int | None]
    read: WireReader | None
    outputs: Sequence[str]
    binary_outputs: frozenset[str]
    id: str | None


class OipEndpoint:
    """The handler of every path below `/v2`; `protocol` is its name in the metrics."""

    protocol = "oip-http"

    def __init__(self, core: Core) -> None:
        self._core = core
        self._reader = TensorReader(core.schema)
        self._writer = TensorWriter(core.schema)
        # Callers repeat the same inputs. `typed`, since to Python 1.0 and True equal 1.
        self._known_head = lru_cache(maxsize=_HEADS, typed=True)(self._check_head)
        self._known_reader = lru_cache(maxsize=tensors.REMEMBERED)(self._reader.wire_reader)
        self._known_asked = lru_cache(maxsize=tensors.REMEMBERED)(self._asked)
        self._answers: dict[str, Callable[[], Response]] = {
            "server": lambda: _json(oip.server_metadata()),
            "server live": lambda: _json({"live": True}),
            "server ready": lambda: _json({"ready": core.ready}, 200 if core.ready else 503),
            "index": lambda: _json(oip.repository_index(core)),
            "metadata": lambda: _json(oip.model_metadata(core)),
            "ready": lambda: _json({"name": core.name, "ready": core.ready}, 200 if core.ready else 503),
            "config": lambda: _json(oip.model_config(core)),
        }

    def methods(self, path: str) -> tuple[str, ...]:
        """Return the methods of the path; raise NotFoundError for an unknown one."""
        return WRITES if _asked(path)[0] in _WRITTEN else READS

    def predicts(self, path: str) -> bool:
        """Return whether a POST to the path is a prediction, whose body must be read."""
        return _asked(path)[0] == "infer"

    def check_head(self, path: str, headers: Headers) -> None:
        """Raise RequestError for an unknown model or version, or an unsupported content type; clients may omit the type."""
        _, name, version = _asked(path)
        oip.check_model(self._core, name, version)
        if media_type(headers) not in (b"", JSON, _BINARY):
            raise UnsupportedTypeError("the content type must be application/json or application/octet-stream")
        check_encoding(headers)

    def answer(self, path: str) -> Response:
        """Return the answer to a request without a body; raise RequestError for an invalid one."""
        what, name, version = _asked(path)
        if name:
            oip.check_model(self._core, name, version)
        return self._answers[what]()

    def predict(self, headers: Headers, body: bytes) -> Response | Unscored[Response]:
        """Return the answer to a prediction, or its rows to be scored; raise RequestError for an invalid one."""
        length = _json_length(headers, body)
        asked, sizes = self._read_head(body[:length], is_alone=length == len(body))
        given = self._given(asked, _cut(body[length:], sizes))
        head: dict[str, Any] = {"model_name": self._core.name, "model_version": self._core.version}
        request_id = headers.get(REQUEST_ID, b"")
        if asked.id is not None:
            head["id"] = asked.id
            request_id = asked.id.encode(errors="replace")

        names, binary = asked.outputs, asked.binary_outputs  # a request that waits keeps no more of itself

        def answer(outputs: Outputs, assumed: Assumed) -> Response:
            if assumed:
                head["parameters"] = {oip.FALLBACKS: oip.fallbacks(assumed)}
            return _response(head, self._writer.tensors(outputs, names), binary)

        return self._core.predict_tensors(given, answer, request_id, headers.get(MIRRORED, b""))

    def error(self, error: RequestError) -> tuple[int, bytes]:
        """Return status and body for a rejected request; rows that break the schema are 400 in this protocol."""
        status = 400 if isinstance(error, InvalidRowsError) else error.status
        return status, json_body.encode({"error": one_line(error)})

    def defect(self) -> bytes:
        """Return the body for a defect of the server."""
        return b'{"error":"internal server error; the request may be valid"}'

    def _read_head(self, content: bytes, *, is_alone: bool) -> tuple[Asked, Sequence[int | None]]:
        """Return the checked JSON of a request, and the sizes of its binary inputs.

        Before binary tensors callers repeat the same JSON, except for the sizes of texts; so it is remembered with 0, 1, … for the sizes.
        """
        if not is_alone and len(content) <= _HEAD_BYTES:
            parts = _SIZES.split(content)
            sizes, parts[2::3] = list(map(int, parts[2::3])), _NUMBERS[: len(parts) // 3]
            with suppress(RequestError):  # raised again below, with the position in the JSON as it was sent
                asked = self._known_asked(b"".join(parts))
                if asked.sizes == list(range(len(sizes))):  # else a size stood somewhere other than in an input
                    return asked, sizes
        asked = self._asked(content)
        return asked, asked.sizes

    def _asked(self, content: bytes) -> Asked:
        """Return the checked JSON of a request."""
        request = json_body.decode(content)
        entries = _list_of_objects(request, "inputs")
        heads = tuple([self._head(entry) for entry in entries])
        sizes = [_binary_size(entry) for entry in entries]
        outputs = _list_of_objects(request, "outputs")
        names = self._writer.requested([_text(entry, "name") for entry in outputs])
        request_id = None if request.get("id") is None else _text(request, "id")
        reader = None if None in sizes else self._known_reader(heads)
        return Asked(entries, heads, sizes, reader, names, _binary_outputs(request, outputs, names), request_id)

    def _given(self, asked: Asked, contents: Sequence[Any]) -> Given:
        """Return the values of the inputs; `contents` holds the binary ones, and None for those in the JSON."""
        if asked.read is not None:
            return asked.read(contents)
        columns = [
            _json_values(head, entry) if content is None else tensors.from_wire(head, content)
            for head, entry, content in zip(asked.heads, asked.entries, contents, strict=True)
        ]
        return self._reader.given(asked.heads, columns)

    def _head(self, entry: Mapping[str, Any]) -> Head:
        try:
            return self._known_head(entry.get("name"), entry.get("datatype"), *entry.get("shape", ()))
        except TypeError:
            return self._check_head(_text(entry, "name"), _text(entry, "datatype"), *_shape(entry))

    def _check_head(self, name: Any, datatype: Any, *shape: Any) -> Head:
        """Return the checked head of an input; raise TypeError if a value has the wrong type."""
        if type(name) is not str or type(datatype) is not str or any(type(size) is not int for size in shape):
            raise TypeError
        rows = self._reader.check(name, datatype, shape)
        self._core.check_size(rows)
        return name, datatype, rows


@lru_cache(maxsize=64)
def _asked(path: str) -> tuple[str, str, str]:
    """Return the resource, model and version of a path, empty if not named; one trailing slash is ignored."""
    match path[len(PREFIX) :].removesuffix("/").split("/")[1:]:
        case []:
            return "server", "", ""
        case ["health", ("live" | "ready") as what]:
            return f"server {what}", "", ""
        case ["repository", "index"]:
            return "index", "", ""
        case ["models", name]:
            return "metadata", name, ""
        case ["models", name, ("ready" | "infer" | "config") as what]:
            return what, name, ""
        case ["models", name, "versions", version]:
            return "metadata", name, version
        case ["models", name, "versions", version, ("ready" | "infer" | "config") as what]:
            return what, name, version
    raise NotFoundError("no such path")


def _json_length(headers: Headers, body: bytes) -> int:
    """Return the length of the body's JSON, which binary tensors may follow."""
    declared = headers.get(_JSON_LENGTH)
    if declared is None:
        return len(body)
    if not declared.isdigit() or len(declared) > 12 or int(declared) > len(body):
        raise RequestError("Inference-Header-Content-Length must be a number of bytes, at most the body's length")
    return int(declared)


def _list_of_objects(request: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    entries = request.get(key)
    if entries is None and key not in _REQUIRED:
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RequestError(f"{key!r} must be a list of tensors")
    return entries


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str):
        raise RequestError(f"{key!r} must be a string")
    return value


def _shape(entry: Mapping[str, Any]) -> list[int]:
    shape = entry.get("shape")
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise RequestError("'shape' must be a list of whole numbers")
    return shape


def _parameters(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = entry.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise RequestError("'parameters' must be an object")
    oip.check_parameters(parameters)
    return parameters


def _binary_size(entry: Mapping[str, Any]) -> int | None:
    """Return the tensor's bytes in the binary part; None if its values are in the JSON."""
    size = _parameters(entry).get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise RequestError("'binary_data_size' must be a number of bytes")
    return size


def _cut(binary: bytes, sizes: Sequence[int | None]) -> list[Any]:
    """Return consecutive parts of these sizes; None for a size of None."""
    parts = []
    position = 0
    for size in sizes:
        parts.append(None if size is None else binary[position : position + size])
        position += size or 0
    if position != len(binary):
        raise RequestError("the sizes of the binary tensors do not add up to the body's length")
    return parts


def _json_values(head: Head, entry: Mapping[str, Any]) -> list[Any]:
    """Return the values of a tensor in JSON, which may be nested as in its shape [rows, 1]."""
    name, datatype, rows = head
    data = entry.get("data")
    if not isinstance(data, list):
        raise RequestError("a tensor without 'binary_data_size' needs 'data', a list")
    if data and isinstance(data[0], list):
        if not all(isinstance(item, list) and len(item) == 1 for item in data):
            raise InvalidRowsError(
                "an input does not fit the model", [Problem(None, name, "must hold one value per row")]
            )
        data = [item[0] for item in data]
    if len(data) != rows:
        problem = f"holds {len(data)} elements, but its shape says {rows}"
        raise InvalidRowsError("an input does not fit the model", [Problem(None, name, problem)])
    allowed, complaint = _JSON_TYPES[datatype]
    if not allowed.issuperset(map(type, data)):
        problems = [Problem(row, name, complaint) for row, value in enumerate(data) if type(value) not in allowed]
        raise InvalidRowsError("an input does not fit the model", problems)
    if datatype in INTEGERS:
        tensors.check_integers(name, datatype, data)
    return data


def _binary_outputs(
    request: Mapping[str, Any], outputs: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> frozenset[str]:
    """Return the outputs among `names` to send as binary tensors, by their own parameter or else the request's."""
    default = _parameters(request).get("binary_data_output") is True
    wanted = {entry["name"]: _parameters(entry).get("binary_data") for entry in outputs}
    return frozenset(name for name in names if wanted.get(name) is True or (default and wanted.get(name) is None))


def _response(head: dict[str, Any], outputs: Sequence[Tensor], binary: frozenset[str]) -> Response:
    entries: list[dict[str, Any]] = []
    tail = []
    for output in outputs:
        entry: dict[str, Any] = {
            "name": output.name,
            "datatype": output.datatype,
            "shape": output.shape,
        }
        if output.name in binary:
            tail.append(tensors.to_wire(output))
            entry["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            entry["data"] = output.values
        entries.append(entry)
    body = json_body.encode({**head, "outputs": entries})
    if not tail:
        return Response(200, body)
    return Response(200, b"".join((body, *tail)), _BINARY, ((_JSON_LENGTH, b"%d" % len(body)),))


def _json(value: Any, status: int = 200) -> Response:
    return Response(status, json_body.encode(value))
