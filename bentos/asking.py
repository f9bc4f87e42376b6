"""Asking a running server for one row, over HTTP and over gRPC; the smoke test and the rehearsal do. No library for callers."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from http.client import HTTPConnection
from typing import Any
from urllib.parse import unquote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived

from bentos import grpc_status
from bentos import oip_pb2 as oip
from bentos.grpc_status import PREFIX_BYTES, Status

Prediction = dict[str, Any]
Headers = Mapping[str, str]
_TIMEOUT_S = 10
_INFER = "/inference.GRPCInferenceService/ModelInfer"
_NO_KEY: Headers = {}


class RefusedError(Exception):
    """A call that ended with another status than OK; its text is the server's message."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


class GrpcChannel:
    """Calls of the gRPC server at an address (`host:port`), one after another, on one connection."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = address
        self._socket = socket.create_connection((host, int(port)), _TIMEOUT_S)
        self._connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._connection.initiate_connection()

    def __enter__(self) -> GrpcChannel:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, method: str, message: bytes, headers: Headers = _NO_KEY) -> bytes:
        """The answer to one message.

        Raises:
            RefusedError: the call was not OK.
            OSError: the connection ended, or no answer came in time.
        """
        stream = self._connection.get_next_available_stream_id()
        fields = {":method": "POST", ":scheme": "http", ":path": method, ":authority": self._address}
        fields |= {"te": "trailers", "content-type": "application/grpc", "grpc-timeout": f"{_TIMEOUT_S}S", **headers}
        self._connection.send_headers(stream, list(fields.items()))
        self._connection.send_data(stream, grpc_status.with_prefix(message), end_stream=True)
        said, body = self._receive(stream)
        status = Status(int(said.get("grpc-status", Status.UNKNOWN)))
        if status is not Status.OK:
            raise RefusedError(status, unquote(said.get("grpc-message", "")))
        return body[PREFIX_BYTES:]

    def _receive(self, stream: int) -> tuple[dict[str, str], bytes]:
        """Fields and body of the answer on a stream."""
        fields: dict[str, str] = {}
        body, ended = b"", False
        while not ended:
            self._socket.sendall(self._connection.data_to_send())
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("the server closed the connection")
            for event in self._connection.receive_data(data):
                if isinstance(event, (ResponseReceived, TrailersReceived)):
                    fields |= {str(name): str(value) for name, value in event.headers or ()}
                elif isinstance(event, DataReceived):
                    body += event.data
                    self._connection.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, StreamEnded):
                    ended = True
                elif isinstance(event, (StreamReset, ConnectionTerminated)):
                    raise ConnectionError("the server ended the call")
        return fields, body


def over_http(connection: HTTPConnection, row: Prediction, headers: Headers = _NO_KEY) -> tuple[Prediction, str]:
    """The prediction for a row, with its fallbacks, and the version of the model that gave it.

    Raises:
        ValueError: the answer is no prediction; with its status and its first words.
    """
    status, content = post(connection, json.dumps({"rows": [row]}).encode(), headers)
    if status != 200:
        raise ValueError(f"answered with {status}: {content[:300].decode(errors='replace')}")
    answer = json.loads(content)
    (prediction,) = answer["predictions"]
    return prediction, answer["model"]["version"]


def post(connection: HTTPConnection, body: bytes, headers: Headers = _NO_KEY) -> tuple[int, bytes]:
    """Status and body of the answer to a body of JSON at /predict."""
    connection.request("POST", "/predict", body, {"content-type": "application/json", **headers})
    response = connection.getresponse()
    return response.status, response.read()


def over_grpc(
    channel: GrpcChannel, row: Prediction, schema: dict[str, Any], headers: Headers = _NO_KEY
) -> tuple[Prediction, str]:
    """The same without fallbacks, which the Open Inference Protocol has no place for.

    Raises:
        RefusedError: the server refused the row.
    """
    request = oip.ModelInferRequest(model_name=schema["name"])
    kinds = {field["name"]: field["kind"] for field in schema["fields"]}
    for name, value in row.items():
        _add_tensor(request, name, kinds.get(name), value)
    answer = oip.ModelInferResponse.FromString(channel.call(_INFER, request.SerializeToString(), headers))
    prediction: Prediction = {}
    for output in answer.outputs:
        if output.datatype == "BYTES":
            prediction[output.name] = output.contents.bytes_contents[0].decode()
        elif len(output.shape) == 2:
            chances = output.contents.fp64_contents
            prediction[output.name] = dict(zip(schema["target"]["labels"], chances, strict=True))
        else:
            prediction[output.name] = output.contents.fp64_contents[0]
    return prediction, answer.model_version


def _add_tensor(request: oip.ModelInferRequest, name: str, kind: str | None, value: Any) -> None:
    tensor = request.inputs.add(name=name, shape=[1])
    if kind == "number":
        tensor.datatype = "FP64"
        tensor.contents.fp64_contents.append(value)
    elif kind == "boolean":
        tensor.datatype = "BOOL"
        tensor.contents.bool_contents.append(value)
    else:
        tensor.datatype = "BYTES"
        tensor.contents.bytes_contents.append(str(value).encode())
