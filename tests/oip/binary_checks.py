"""The binary tensor data extension of the HTTP interface."""

from __future__ import annotations

from typing import Any

from tests.oip.clauses import NotOfferedError, clause, expect
from tests.oip.http_checks import same
from tests.oip.server import LENGTH_HEADER, Answer, Server

_REPORTED = "binary_tensor_data"


def binary(section: str, says: str) -> Any:
    return clause("binary", section, says, needs=("http",))


def offered(server: Server) -> None:
    """Raises NotOfferedError where the server neither reports the extension nor takes a binary tensor."""
    reported = _REPORTED in server.rest.get("v2").json().get("extensions", [])
    if not reported and all_binary(server).status != 200:
        raise NotOfferedError("the extension is not among the server's, and a binary tensor is refused")


def all_binary(server: Server, **more: Any) -> Answer:
    return server.infer_binary([tensor.as_binary() for tensor in server.inputs], **more)


def by_output(server: Server, wanted: bool) -> list[dict[str, Any]]:
    return [{"name": entry["name"], "parameters": {"binary_data": wanted}} for entry in server.metadata["outputs"]]


def binary_outputs(answer: Answer) -> set[str]:
    """The outputs whose values are behind the JSON."""
    length = int(answer.headers.get(LENGTH_HEADER.lower(), len(answer.content)))
    entries = Answer(answer.status, {}, answer.content[:length]).json()["outputs"]
    return {entry["name"] for entry in entries if "binary_data_size" in entry.get("parameters", {})}


@binary("Server Metadata", "a server that takes binary tensors reports binary_tensor_data")
def reported(server: Server) -> None:
    offered(server)
    extensions = server.rest.get("v2").json()["extensions"]
    expect(_REPORTED in extensions, f"the server takes a binary tensor, and reports {extensions}")


@binary("binary_data_size", "inputs as binary data mean the same as in JSON")
def binary_inputs(server: Server) -> None:
    offered(server)
    answer = all_binary(server, outputs=by_output(server, False))
    expect(same(server, answer), f"the answer changes to {answer}")
    expect(not binary_outputs(answer), f"outputs come binary, unasked: {answer}")


@binary("binary_data_size", "inputs of both kinds in one request")
def mixed_inputs(server: Server) -> None:
    offered(server)
    if len(server.inputs) < 2:
        raise NotOfferedError("the model has one input")
    tensors = [
        tensor.as_binary() if index % 2 else (tensor.as_json(), b"") for index, tensor in enumerate(server.inputs)
    ]
    answer = server.infer_binary(tensors)
    expect(same(server, answer), f"the answer changes to {answer}")


@binary("binary_data", "outputs as binary data where they are asked for, with the length of the JSON in the header")
def binary_data(server: Server) -> None:
    offered(server)
    answer = server.infer(outputs=by_output(server, True))
    expect(same(server, answer), f"the answer changes to {answer}")
    names = {entry["name"] for entry in server.metadata["outputs"]}
    expect(binary_outputs(answer) == names, f"binary are {binary_outputs(answer)}")
    expect(LENGTH_HEADER.lower() in answer.headers, f"there is no {LENGTH_HEADER}")


@binary("binary_data_output", "all outputs as binary data, but those that say binary_data: false")
def binary_data_output(server: Server) -> None:
    offered(server)
    every = server.infer(parameters={"binary_data_output": True})
    names = {entry["name"] for entry in server.metadata["outputs"]}
    expect(same(server, every) and binary_outputs(every) == names, f"binary are {binary_outputs(every)}")
    first, *others = server.metadata["outputs"]
    outputs = [{"name": first["name"], "parameters": {"binary_data": False}}, *({"name": o["name"]} for o in others)]
    mixed = server.infer(parameters={"binary_data_output": True}, outputs=outputs)
    expect(binary_outputs(mixed) == names - {first["name"]}, f"binary are {binary_outputs(mixed)}")


@binary("binary_data_size", "a size that does not fit the shape, or the body: an HTTP error with an error object")
def wrong_size(server: Server) -> None:
    offered(server)
    (entry, content), *others = (tensor.as_binary() for tensor in server.inputs)
    longer = {**entry, "parameters": {"binary_data_size": len(content) + 1}}
    for what, first in (
        ("longer", (longer, content + b"\0")),
        ("cut", (entry, content[:-1])),
        ("lies", (longer, content)),
    ):
        answer = server.infer_binary([first, *others])
        expect(answer.is_error, f"{what}: {answer}")


@binary(LENGTH_HEADER, "a length that is none, or beyond the body: an HTTP error with an error object")
def wrong_header(server: Server) -> None:
    offered(server)
    for length in ("999999", "-1", "many", "0"):
        answer = all_binary(server, length=length)
        expect(answer.is_error, f"{length}: {answer}")


@clause(
    "statuses", "RFC 9110, 15.5 and 15.6", "broken binary data are answered with 4xx, never with 5xx", needs=("http",)
)
def callers_fault(server: Server) -> None:
    offered(server)
    answers = [all_binary(server, length=length) for length in ("999999", "-1", "many", "0", "1")]
    entries = [tensor.as_binary() for tensor in server.inputs]
    answers.append(server.infer_binary([(entry, content[:-1]) for entry, content in entries]))
    wrong = [str(answer) for answer in answers if answer.status >= 500]
    expect(not wrong, f"{len(wrong)} of {len(answers)}: {wrong[:1]}")
