"""The protocol over HTTP: what must be refused, and with what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.oip.clauses import NotOfferedError, clause, expect
from tests.oip.http_checks import NOBODY, rest
from tests.oip.server import Answer, Server
from tests.oip.tensors import DATATYPES


def changed(server: Server, **changes: Any) -> Answer:
    """The answer to a request whose first input was changed."""
    first, *others = server.inputs
    inputs = [first.as_json(**changes), *(tensor.as_json() for tensor in others)]
    return server.rest.post(server.path("infer"), {"inputs": inputs})


def without_key(server: Server, key: str) -> Answer:
    first, *others = (tensor.as_json() for tensor in server.inputs)
    del first[key]
    return server.rest.post(server.path("infer"), {"inputs": [first, *others]})


def raw(server: Server, body: bytes) -> Answer:
    return server.rest.ask("POST", server.path("infer"), body, {"Content-Type": "application/json"})


def data(server: Server) -> list[Any]:
    return list(server.inputs[0].as_json()["data"])


REFUSED: dict[str, tuple[str, Callable[[Server], Answer]]] = {
    "a model that there is not": (
        "Inference",
        lambda server: server.rest.post(f"v2/models/{NOBODY}/infer", server.request(server.inputs)),
    ),
    "a version that there is not": (
        "Inference",
        lambda server: server.rest.post(server.path("infer", NOBODY), server.request(server.inputs)),
    ),
    "a body that is no JSON": ("Inference", lambda server: raw(server, b'{"inputs": [')),
    "an empty body": ("Inference", lambda server: raw(server, b"")),
    "a JSON list": ("Inference Request JSON Object", lambda server: raw(server, b"[]")),
    "a request without inputs": ("Inference Request JSON Object", lambda server: raw(server, b"{}")),
    "inputs that are no list": ("Inference Request JSON Object", lambda server: raw(server, b'{"inputs": {"a": 1}}')),
    "an id that is no string": ("Inference Request JSON Object", lambda server: server.infer(id={"a": 1})),
    "an input without a name": ("Inference Request Input", lambda server: without_key(server, "name")),
    "an input without a datatype": ("Inference Request Input", lambda server: without_key(server, "datatype")),
    "an input without a shape": ("Inference Request Input", lambda server: without_key(server, "shape")),
    "an input without data": ("Inference Request Input", lambda server: without_key(server, "data")),
    "a dimension below 0": ("Inference Request Input", lambda server: changed(server, shape=[-1])),
    "a dimension that is no integer": ("Inference Request Input", lambda server: changed(server, shape=[1.5])),
    "a shape that is no list": ("Inference Request Input", lambda server: changed(server, shape="one")),
    "more data than the shape says": ("Tensor Data", lambda server: changed(server, data=data(server) * 2)),
    "less data than the shape says": ("Tensor Data", lambda server: changed(server, data=data(server)[1:])),
    "data that are no array": ("Tensor Data", lambda server: changed(server, data={"a": 1})),
    "an element that is an object": (
        "Tensor Data",
        lambda server: changed(server, data=[{"a": 1}] * len(data(server))),
    ),
    "a datatype that there is not": ("Tensor Data Types", lambda server: changed(server, datatype="FP13")),
    "an output that there is not": ("Request Output", lambda server: server.infer(outputs=[{"name": NOBODY}])),
}


def refused(what: str) -> Callable[[Server], None]:
    def ask(server: Server) -> None:
        answer = REFUSED[what][1](server)
        expect(answer.is_error, f"answered {answer}")

    return ask


for _what, (_section, _) in REFUSED.items():
    rest(_section, f"{_what}: an HTTP error with an error object")(refused(_what))


@rest("Model Metadata", "an input that the model needs is missing: an HTTP error with an error object")
def missing_input(server: Server) -> None:
    inputs = server.inputs
    answers = [server.infer([other for other in inputs if other is not tensor]) for tensor in inputs]
    expect(all(answer.is_error or answer.status == 200 for answer in answers), f"answered {answers}")
    if all(answer.status == 200 for answer in answers):
        raise NotOfferedError("the model does without any of its inputs")


@rest("Tensor Data", "an element of another type is refused with an error object, or coerced")
def other_element(server: Server) -> None:
    for value in (True, "no number", 0.5, [], None):
        answer = changed(server, data=[value] * len(data(server)))
        expect(answer.is_error or answer.status == 200, f"an element {value!r}: {answer}")


@rest("Tensor Data Types", "a datatype that is not the input's is refused with an error object, or coerced")
def other_datatype(server: Server) -> None:
    for datatype in DATATYPES:
        answer = changed(server, datatype=datatype)
        expect(answer.is_error or answer.status == 200, f"as {datatype}: {answer}")


@rest(
    "Inference Request JSON Object", "an input that the model does not have is refused with an error object, or ignored"
)
def unknown_input(server: Server) -> None:
    extra = replace(server.inputs[0], name=NOBODY)
    answer = server.infer([*server.inputs, extra])
    expect(answer.is_error or answer.status == 200, f"answered {answer}")


@clause(
    "statuses",
    "RFC 9110, 15.5 and 15.6",
    "what the caller did wrong is answered with 4xx, never with 5xx",
    needs=("http",),
)
def callers_fault(server: Server) -> None:
    answers = {what: ask(server).status for what, (_, ask) in REFUSED.items()}
    answers |= {f"the datatype {name}": changed(server, datatype=name).status for name in DATATYPES}
    answers |= {
        f"the element {value!r}": changed(server, data=[value] * len(data(server))).status
        for value in (True, "x", None, [])
    }
    wrong = {what: status for what, status in answers.items() if status >= 500}
    expect(not wrong, f"{len(wrong)} of {len(answers)}: {wrong}")
