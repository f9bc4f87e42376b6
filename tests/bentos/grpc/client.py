"""A bare client of gRPC, and the requests that it sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from bentos.core import Core
from bentos.protocols.oip.kinds import DATATYPES
from bentos.protos import oip_pb2
from tests.bentos.conftest import Case
from tests.bentos.grpc.http2_peer import grpc_door


class Client:
    """Calls one method after the other on a server that lives as long as this object's caller."""

    def __init__(self, port: int) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def call(self, method: str, request: Any, **options: Any) -> bytes:
        content = request if isinstance(request, bytes) else request.SerializeToString()
        path = method if method.startswith("/") else f"/inference.GRPCInferenceService/{method}"
        answer: bytes = self._channel.unary_unary(path)(content, timeout=20, **options)
        return answer

    def infer(self, request: Any) -> Any:
        return oip_pb2.ModelInferResponse.FromString(self.call("ModelInfer", request))

    def refusal(self, method: str, request: Any, **options: Any) -> Any:
        with pytest.raises(grpc.RpcError) as error:
            self.call(method, request, **options)
        return error.value


def serve(core: Core, work: Callable[[Client], None]) -> None:
    """Run `work` against a server."""
    with grpc_door(core) as running:
        work(Client(running.port))


def typed_request(case: Case, core: Core, rows: list[dict[str, Any]]) -> Any:
    """The rows as typed contents; missing fields as the tensors' own spelling of missing."""
    request = oip_pb2.ModelInferRequest(model_name=core.name, id="7")
    for field in case.schema.fields:
        values = [row.get(field.name) for row in rows]
        entry = request.inputs.add(name=field.name, datatype=DATATYPES[field.kind], shape=[len(rows)])
        if field.kind == "number":
            entry.contents.fp64_contents.extend(float("nan") if value is None else value for value in values)
        elif field.kind == "boolean":
            entry.contents.bool_contents.extend(values)
        else:
            entry.contents.bytes_contents.extend(("" if value is None else value).encode() for value in values)
    return request


def many_rows(case: Case, core: Core, count: int = 1000) -> bytes:
    rows = [case.rows[index % len(case.rows)] for index in range(count)]
    content: bytes = typed_request(case, core, rows).SerializeToString()
    return content


def chances(message: bytes) -> list[float]:
    return list(oip_pb2.ModelInferResponse.FromString(message).outputs[0].contents.fp64_contents)


def expected_chances(case: Case, count: int = 1000) -> list[float]:
    return [case.answers[index % len(case.rows)]["probability"] for index in range(count)]
