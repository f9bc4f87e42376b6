"""The Open Inference Protocol over gRPC."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from google.protobuf.message import Message

from bentos.core import Core
from bentos.protocols.oip import model as oip
from bentos.protocols.oip import tensors
from bentos.protocols.oip.kinds import INTEGERS
from bentos.protocols.oip.tensors import Head, Tensor, TensorReader, TensorWriter, WireReader
from bentos.protos import oip_pb2
from bentos.rounds import Unscored
from contract.errors import InvalidRowsError, Problem, RequestError
from contract.model.columns.program import Assumed
from contract.model.predictor import Outputs

SERVICE = "inference.GRPCInferenceService"
_HEADS = 32  # to remember; each combination of fields and number of rows has its own
_HEAD_BYTES = 8192  # of the longest head to remember
_UNSUPPORTED = [name.encode() for name in oip.UNSUPPORTED]
_TYPED_CONTENTS = {
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    **{f"INT{bits}": "int_contents" for bits in (8, 16, 32)},
    **{f"UINT{bits}": "uint_contents" for bits in (8, 16, 32)},
}


class Asked(NamedTuple):
    """A checked request without its values: the heads of the inputs, and the names of the requested outputs."""

    inputs: tuple[Head, ...]
    outputs: Sequence[str]


class InferenceService:
    """The methods of the protocol, each from a request message to its response message."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._reader = TensorReader(core.schema)
        self._writer = TensorWriter(core.schema)
        # Callers repeat the same heads before raw contents; checking one costs as much as predicting a row.
        self._known_head = lru_cache(maxsize=_HEADS)(self._read_head)
        self._known_answer = lru_cache(maxsize=_HEADS)(self._empty_answer)

    def server_live(self, _: Any) -> Message:
        return oip_pb2.ServerLiveResponse(live=True)

    def server_ready(self, _: Any) -> Message:
        return oip_pb2.ServerReadyResponse(ready=self._core.ready)

    def model_ready(self, request: Any) -> Message:
        oip.check_model(self._core, request.name, request.version)
        return oip_pb2.ModelReadyResponse(ready=self._core.ready)

    def server_metadata(self, _: Any) -> Message:
        return oip_pb2.ServerMetadataResponse(**oip.server_metadata())

    def model_metadata(self, request: Any) -> Message:
        oip.check_model(self._core, request.name, request.version)
        return oip_pb2.ModelMetadataResponse(**oip.model_metadata(self._core))

    def model_config(self, request: Any) -> Message:
        oip.check_model(self._core, request.name, request.version)
        return oip_pb2.ModelConfigResponse(config=oip_pb2.ModelConfig(**oip.model_config(self._core)))

    def repository_index(self, _: Any) -> Message:
        return oip_pb2.RepositoryIndexResponse(models=oip.repository_index(self._core))

    def model_infer(self, request: Any, mirrored: bytes = b"") -> Message | Unscored[Message]:
        """Predict, or return the rows to be scored; the answer's tensors come raw if the request's did, else typed."""
        raw, request_id = request.raw_input_contents[:], request.id
        if raw:  # without these two fields, the bytes of the message are the key by which its head is remembered
            request.ClearField("raw_input_contents")
            request.ClearField("id")
            content = request.SerializeToString()
            read_head = self._known_head if len(content) <= _HEAD_BYTES else self._read_head
            asked, read = read_head(content, len(raw))
            given = read(raw)
        else:
            asked = self._check_head(request, 0)
            columns = [_typed(entry, size) for entry, (_, _, size) in zip(request.inputs, asked.inputs, strict=True)]
            given = self._reader.given(asked.inputs, columns)

        names, is_raw = asked.outputs, bool(raw)  # a request that waits keeps no more of itself

        def answer(outputs: Outputs, assumed: Assumed) -> Message:
            response = self._response(request_id, self._writer.tensors(outputs, names), raw=is_raw)
            if assumed:
                response.parameters[oip.FALLBACKS].string_param = oip.fallbacks(assumed)
            return response

        return self._core.predict_tensors(given, answer, request_id.encode(errors="replace"), mirrored)

    def _read_head(self, content: bytes, raw: int) -> tuple[Asked, WireReader]:
        """Return the head of a request with `raw` raw contents, and their reader."""
        asked = self._check_head(oip_pb2.ModelInferRequest.FromString(content), raw)
        return asked, self._reader.wire_reader(asked.inputs)

    def _check_head(self, request: Any, raw: int) -> Asked:
        """Return the head of a request with `raw` raw contents; raise RequestError if it does not fit the model."""
        oip.check_model(self._core, request.model_name, request.model_version)
        _check_parameters(request)
        outputs = self._writer.requested([output.name for output in request.outputs])
        if raw and raw != len(request.inputs):
            raise RequestError("raw_input_contents must hold one element per input, or none")
        inputs = []
        for entry in request.inputs:
            rows = self._reader.check(entry.name, entry.datatype, entry.shape)
            self._core.check_size(rows)
            if raw and entry.HasField("contents"):
                raise RequestError("an input has both contents and raw_input_contents")
            inputs.append((entry.name, entry.datatype, rows))
        return Asked(tuple(inputs), outputs)

    def _response(self, request_id: str, outputs: Sequence[Tensor], *, raw: bool) -> Message:
        response = oip_pb2.ModelInferResponse(id=request_id)
        response.MergeFrom(
            self._known_answer(tuple([(output.name, output.datatype, *output.shape) for output in outputs]))
        )
        if raw:
            response.raw_output_contents.extend([tensors.to_wire(output) for output in outputs])
            return response
        for entry, output in zip(response.outputs, outputs, strict=True):
            if output.datatype == "BYTES":
                entry.contents.bytes_contents.extend(value.encode() for value in output.values)
            else:
                entry.contents.fp64_contents.extend(output.values)
        return response

    def _empty_answer(self, outputs: tuple[tuple[Any, ...], ...]) -> Message:
        """Return an answer with names, datatypes and shapes of these outputs, but without values."""
        response = oip_pb2.ModelInferResponse(model_name=self._core.name, model_version=self._core.version)
        for name, datatype, *shape in outputs:
            response.outputs.add(name=name, datatype=datatype, shape=shape)
        return response


def _check_parameters(request: Any) -> None:
    """Raise RequestError for an unsupported parameter; search the bytes for its name first, which takes a quarter of the time."""
    content = request.SerializeToString()
    if any(name in content for name in _UNSUPPORTED):
        for part in (request, *request.inputs, *request.outputs):
            oip.check_parameters(part.parameters)


def _typed(entry: Any, rows: int) -> Sequence[Any]:
    values = getattr(entry.contents, _TYPED_CONTENTS[entry.datatype])
    if entry.datatype == "BYTES":
        return tensors.from_texts(entry.name, rows, values)
    if len(values) != rows:
        problem = f"holds {len(values)} elements for its datatype, but its shape says {rows}"
        raise InvalidRowsError("an input does not fit the model", [Problem(None, entry.name, problem)])
    if entry.datatype in INTEGERS:
        tensors.check_integers(entry.name, entry.datatype, values)
    return list(values)
