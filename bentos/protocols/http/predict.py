"""`POST /predict`: rows as JSON objects in, probabilities and labels out."""

from __future__ import annotations

from bentos.core import Core
from bentos.errors import INTERNAL, NotFoundError
from bentos.monitoring.tracing import MIRRORED, REQUEST_ID
from bentos.protocols import json_body
from bentos.protocols.http.exchange import JSON, WRITES, Headers, Response, check_encoding, media_type
from contract.errors import RequestError, UnsupportedTypeError

PATH = "/predict"
_DETAILS = 100  # problems in an error; a request of 1,000 rows could have thousands


class PredictEndpoint:
    """The handler of the project's own protocol; `protocol` is its name in the metrics."""

    protocol = "http"

    def __init__(self, core: Core) -> None:
        self._core = core
        model = json_body.encode({"name": core.name, "version": core.version})
        self._head = b'{"model":%b,"predictions":' % model

    def methods(self, path: str) -> tuple[str, ...]:  # noqa: ARG002
        """Return the methods of the path: only POST."""
        return WRITES

    def predicts(self, path: str) -> bool:
        """Return whether a POST to the path is a prediction, whose body must be read."""
        return path == PATH

    def check_head(self, path: str, headers: Headers) -> None:  # noqa: ARG002
        """Raise UnsupportedTypeError for a body that is not plain JSON; called before the body is read."""
        if media_type(headers) != JSON:
            raise UnsupportedTypeError("the content type must be application/json")
        check_encoding(headers)

    def answer(self, path: str) -> Response:  # noqa: ARG002
        """Raise NotFoundError: there is nothing but predictions."""
        raise NotFoundError("no such path")

    def predict(self, headers: Headers, body: bytes) -> Response:
        """Return one prediction per row of the body; raise RequestError for a malformed body and InvalidRowsError for invalid rows."""
        request = json_body.decode(body, constants=True)
        rows = request.get("rows")
        if len(request) != 1 or not isinstance(rows, list):
            raise RequestError('the body must be {"rows": [{field: value, …}, …]}, with no other key')
        answers = self._core.predict(rows, headers.get(REQUEST_ID, b""), headers.get(MIRRORED, b""))
        return Response(200, b"%b%b}" % (self._head, json_body.encode(answers)))

    def error(self, error: RequestError) -> tuple[int, bytes]:
        """Return status and body for a rejected request."""
        details = [problem.as_dict() for problem in error.problems[:_DETAILS]]
        return error.status, _error(error.code, error.message, details)

    def defect(self) -> bytes:
        """Return the body for a defect of the server."""
        return _error(INTERNAL, "internal server error; the request may be valid", [])


def _error(code: str, message: str, details: list[dict[str, object]]) -> bytes:
    return json_body.encode({"error": {"code": code, "message": message, "details": details}})
