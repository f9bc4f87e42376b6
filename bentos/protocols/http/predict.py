"""`POST /predict`: rows as JSON objects in, probabilities and labels out."""

from __future__ import annotations

from bentos.core import Core
from bentos.errors import INTERNAL
from bentos.monitoring.tracing import REQUEST_ID
from bentos.protocols import json_body
from bentos.protocols.http.exchange import JSON, WRITES, Headers, Response, check_encoding, media_type
from contract.errors import RequestError, UnsupportedTypeError

PATH = "/predict"
_DETAILS = 100  # of an error; a request of 1,000 rows could have a thousand times as many


class PredictEndpoint:
    """The handler of the project's own protocol; `protocol` is its name in the metrics."""

    protocol = "http"

    def __init__(self, core: Core) -> None:
        self._core = core
        model = json_body.encode({"name": core.name, "version": core.version})
        self._head = b'{"model":%b,"predictions":' % model

    def methods(self, path: str) -> tuple[str, ...]:  # noqa: ARG002
        """The methods that the path takes: POST alone."""
        return WRITES

    def predicts(self, path: str) -> bool:
        """Whether a request for the path is a prediction, whose body has to be read."""
        return path == PATH

    def check_head(self, path: str, headers: Headers) -> None:  # noqa: ARG002
        """Raises UnsupportedTypeError for a body that is not plain JSON; asked before it is read."""
        if media_type(headers) != JSON:
            raise UnsupportedTypeError("the content type must be application/json")
        check_encoding(headers)

    def answer(self, method: str, path: str, headers: Headers, body: bytes) -> Response:  # noqa: ARG002
        request = json_body.decode(body, constants=True)
        rows = request.get("rows")
        if len(request) != 1 or not isinstance(rows, list):
            raise RequestError('the body must be {"rows": [{field: value, …}, …]}, with no other key')
        answers = self._core.predict(rows, headers.get(REQUEST_ID, b""))
        return Response(200, b"%b%b}" % (self._head, json_body.encode(answers)))

    def error(self, error: RequestError) -> tuple[int, bytes]:
        """Status and body for a refused request."""
        details = [problem.as_dict() for problem in error.problems[:_DETAILS]]
        return error.status, _error(error.code, error.message, details)

    def defect(self) -> bytes:
        """The body for a failure of the server's own."""
        return _error(INTERNAL, "the server failed; the request may be right", [])


def _error(code: str, message: str, details: list[dict[str, object]]) -> bytes:
    return json_body.encode({"error": {"code": code, "message": message, "details": details}})
