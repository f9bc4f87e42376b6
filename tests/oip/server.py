"""The server in question: how it is asked over HTTP and over gRPC, and a request to its model that it answers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import grpc
from tritonclient.grpc import service_pb2

from tests.oip.clauses import FailedError, NotOfferedError, expect
from tests.oip.tensors import CONTENTS, Tensor, from_json, from_message, pack

SERVICE = "inference.GRPCInferenceService"
LENGTH_HEADER = "Inference-Header-Content-Length"
_TIMEOUT_S = 30
# Metadata say what type a value has, not which values there are. An input that the server's error names gets the next one.
_NUMBERS = (1, 0, 100, 1000, 10)
_TEXTS = (b"1", b"2000-01-01T00:00", b"a")


class UnusableError(Exception):
    """There is nothing to ask the server; with what to do."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> dict[str, Any]:
        value = json.loads(self.content)
        expect(isinstance(value, dict), f"the body is no JSON object: {self.content[:80]!r}")
        return dict(value)

    @property
    def is_error(self) -> bool:
        """An HTTP error with the error object that the protocol asks for."""
        try:
            return self.status >= 400 and isinstance(self.json()["error"], str)
        except (ValueError, KeyError, FailedError):
            return False

    def __str__(self) -> str:
        return f"{self.status} {self.content[:160].decode(errors='replace')}"

    def outputs(self) -> list[Tensor]:
        """The tensors of an answer to an inference request, in JSON, binary or both."""
        expect(self.status == 200, f"answered {self}")
        length = int(self.headers.get(LENGTH_HEADER.lower(), len(self.content)))
        found, rest = [], self.content[length:]
        for entry in json.loads(self.content[:length])["outputs"]:
            tensor, rest = from_json(entry, rest)
            found.append(tensor)
        expect(not rest, f"{len(rest)} bytes follow the last output")
        return found


class Http:
    """The server's HTTP interface."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        self._address, self._prefix = parts.netloc, parts.path.rstrip("/")

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        connection = HTTPConnection(self._address, timeout=_TIMEOUT_S)
        try:
            connection.request(method, f"{self._prefix}/{path}", body, headers or {})
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def post(self, path: str, value: Any) -> Answer:
        return self.ask("POST", path, json.dumps(value).encode(), {"Content-Type": "application/json"})


class Grpc:
    """The server's gRPC interface."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)

    def call(self, method: str, request: Any, answer: Any) -> Any:
        path = method if method.startswith("/") else f"/{SERVICE}/{method}"
        ask = self.channel.unary_unary(path, type(request).SerializeToString, answer.FromString)
        return ask(request, timeout=_TIMEOUT_S)

    def ask(self, method: str, **fields: Any) -> Any:
        """A method of the protocol; its messages are named after it."""
        request = getattr(service_pb2, f"{method}Request")(**fields)
        return self.call(method, request, getattr(service_pb2, f"{method}Response"))

    def infer(self, request: Any) -> Any:
        return self.call("ModelInfer", request, service_pb2.ModelInferResponse)

    def refusal(self, method: str, request: Any) -> grpc.RpcError | None:
        """The error of a call; None where it was answered."""
        try:
            self.call(method, request, getattr(service_pb2, f"{method}Response", service_pb2.ModelInferResponse))
        except grpc.RpcError as error:
            return error
        return None


@dataclass
class Server:
    """What the checks ask. `example` replaces the inputs that are made from the model's metadata."""

    name: str
    http: Http | None
    grpc: Grpc | None
    example: Sequence[Tensor] = ()

    def speaks(self, protocol: str) -> bool:
        return getattr(self, protocol) is not None

    @property
    def rest(self) -> Http:
        assert self.http is not None
        return self.http

    @property
    def rpc(self) -> Grpc:
        assert self.grpc is not None
        return self.grpc

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """Of the model, over whichever protocol there is."""
        if self.http is not None:
            return self.http.get(self.path()).json()
        found = self.rpc.ask("ModelMetadata", name=self.name)
        return {"versions": list(found.versions)} | {
            key: [
                {"name": entry.name, "datatype": entry.datatype, "shape": list(entry.shape)}
                for entry in getattr(found, key)
            ]
            for key in ("inputs", "outputs")
        }

    @property
    def version(self) -> str:
        """A version that may be asked for by name."""
        versions = self.metadata.get("versions")
        if not versions:
            raise NotOfferedError("the model's metadata name no version")
        return str(versions[-1])

    def path(self, verb: str = "", version: str = "") -> str:
        parts = ["v2/models", self.name, *(["versions", version] if version else []), *([verb] if verb else [])]
        return "/".join(parts)

    @cached_property
    def inputs(self) -> list[Tensor]:
        """One input tensor for each that the metadata name, with values that the server answers."""
        entries = self.metadata["inputs"]
        tried = {entry["name"]: 0 for entry in entries}
        inputs = list(self.example) or [_made(entry, 0) for entry in entries]
        while problem := self._problem(inputs):
            named = [name for name in tried if re.search(rf"\b{re.escape(name)}\b", problem)] or list(tried)
            tried |= {name: tried[name] + 1 for name in named}
            if self.example or max(tried.values()) >= max(len(_NUMBERS), len(_TEXTS)):
                raise UnusableError(f"give a request that the server answers by --example; it says: {problem[:300]}")
            inputs = [_made(entry, tried[entry["name"]]) for entry in entries]
        return inputs

    def _problem(self, inputs: Sequence[Tensor]) -> str:
        """What the server says of a request; nothing if it answers."""
        if self.http is not None:
            answer = self.http.post(self.path("infer"), self.request(inputs))
            return "" if answer.status == 200 else answer.content.decode(errors="replace") or str(answer.status)
        error = self.rpc.refusal("ModelInfer", self.message(inputs))
        return f"{error.code().name}: {error.details()}" if error is not None else ""

    def request(self, inputs: Sequence[Tensor], **more: Any) -> dict[str, Any]:
        """The JSON of a request."""
        return {"inputs": [tensor.as_json() for tensor in inputs], **more}

    def infer(self, inputs: Sequence[Tensor] | None = None, **more: Any) -> Answer:
        return self.rest.post(self.path("infer"), self.request(self.inputs if inputs is None else inputs, **more))

    def infer_binary(self, inputs: Sequence[tuple[dict[str, Any], bytes]], length: str = "", **more: Any) -> Answer:
        """A request whose tensors have their values behind the JSON, where they have any; `length` replaces the right header."""
        head = json.dumps({"inputs": [entry for entry, _ in inputs], **more}).encode()
        headers = {"Content-Type": "application/octet-stream", LENGTH_HEADER: length or str(len(head))}
        return self.rest.ask("POST", self.path("infer"), head + b"".join(content for _, content in inputs), headers)

    def message(self, inputs: Sequence[Tensor] | None = None, *, raw: bool = False, **fields: Any) -> Any:
        """A ModelInferRequest, with typed or with raw contents."""
        request = service_pb2.ModelInferRequest(**{"model_name": self.name, **fields})
        for tensor in self.inputs if inputs is None else inputs:
            entry = request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
            if raw:
                request.raw_input_contents.append(pack(tensor.datatype, tensor.values))
            elif tensor.datatype in CONTENTS:
                getattr(entry.contents, CONTENTS[tensor.datatype]).extend(tensor.values)
        return request

    def outputs(self, response: Any) -> list[Tensor]:
        """The tensors of a ModelInferResponse."""
        raw = response.raw_output_contents
        expect(
            not raw or len(raw) == len(response.outputs), f"{len(raw)} raw contents, {len(response.outputs)} outputs"
        )
        expect(
            not raw or not any(entry.contents.ByteSize() for entry in response.outputs),
            "an output has both contents and raw contents",
        )
        return [from_message(entry, raw[index] if raw else None) for index, entry in enumerate(response.outputs)]


def _made(entry: dict[str, Any], tried: int) -> Tensor:
    """A tensor of one row, all of whose values are equal."""
    shape = tuple(1 if size < 0 else size for size in entry["shape"])
    datatype, number = entry["datatype"], _NUMBERS[tried % len(_NUMBERS)]
    values = {"BYTES": _TEXTS[tried % len(_TEXTS)], "BOOL": tried % 2 == 0}
    value = values.get(datatype, float(number) if datatype.startswith("FP") else number)
    return Tensor(entry["name"], datatype, shape, (value,) * math.prod(shape))
