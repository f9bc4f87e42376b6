"""The core under both front ends: one verified model with its name, version, limits and counters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bentos.guards.access import Access
from bentos.guards.admission import Admission
from bentos.monitoring.metrics import Metrics
from bentos.monitoring.observations import Observations
from bentos.monitoring.prediction_log import PredictionLog
from bentos.monitoring.sketches import Sketches
from bentos.monitoring.tracing import Tracing, sampling
from bentos.rounds import AnswerT, Rounds, Unscored
from contract.bundle import manifest
from contract.bundle.limits import FILE_NAME as LIMITS_FILE_NAME
from contract.bundle.limits import Limits
from contract.bundle.manifest import GOLDEN_FILE_NAME
from contract.errors import BundleError, Problem, TooLargeError
from contract.files import sha256
from contract.model import reference as training_reference
from contract.model.columns.program import Assumed, Columns
from contract.model.encoder import by_fallback
from contract.model.predictor import Answer, Outputs, Predictor, Scored
from contract.model.reference import Reference
from contract.model.row_program import Row
from contract.prediction_log import settings as log_settings
from contract.prediction_log.records import ID_LIMIT_BYTES
from contract.schema.schema import FeatureSchema

_SHADOW_METRICS = "bulkhead_shadow_log_rows", "bulkhead_shadow_log_dropped_rows"


class Core:
    """A predictor of rows; it exists only for a model whose files match the manifest and whose golden answers agree.

    Attributes:
        name: the model's name.
        version: the bundle's digest, which every answer names.
        example: a valid row, from the golden requests.
        ready: both front ends listen.
        admission: admission control, which the front ends ask before they spend time on a request.
        rounds: the predictions that wait to be scored together.
        access: the API keys; None if no key is required.
        observations: the observed predictions.
    """

    def __init__(
        self, predictor: Predictor, reference: Reference, *, name: str, version: str, limits: Limits, example: Row
    ) -> None:
        self._predictor = predictor
        self.schema: FeatureSchema = predictor.schema
        self.name = name
        self.version = version
        self.limits = limits
        self.example = example
        self.metrics = Metrics(version)
        self.observations = Observations(Sketches(predictor.schema, reference, version))
        self.metrics.sources.append(self.observations.collect)
        self.admission = Admission(limits.latency_budget_s, self.metrics)
        # What waits holds no more memory than incomplete requests may.
        self.rounds = Rounds(predictor, self.admission, max(1, limits.pending_limit_bytes // limits.body_limit_bytes))
        self.ready = False
        self.access: Access | None = None
        self._tracing: Tracing | None = None

    @classmethod
    def load(cls, bundle: Path) -> Core:
        """Load the core of a bundle directory.

        Raises:
            BundleError: a file is missing or changed, or a golden answer differs.
        """
        claims = manifest.read(bundle)
        directory = bundle / manifest.ARTIFACT
        _check_files(bundle, claims)
        try:
            limits = Limits.from_bytes((directory / LIMITS_FILE_NAME).read_bytes())
            reference = (directory / training_reference.FILE_NAME).read_bytes()
        except OSError as error:
            raise BundleError(f"the bundle is incomplete: {error}") from error
        predictor = Predictor.load(directory)
        if not predictor.check_golden(directory / GOLDEN_FILE_NAME):
            raise BundleError(
                f"{GOLDEN_FILE_NAME} holds no request, so it cannot be checked that this is the judged model"
            )
        # The first golden request is the complete one.
        example: dict[str, Any] = json.loads((directory / GOLDEN_FILE_NAME).read_bytes())[0]["row"]
        version = manifest.digest_of(bundle)
        return cls(
            predictor,
            Reference.from_bytes(reference, predictor.schema),
            name=claims.name,
            version=version,
            limits=limits,
            example=example,
        )

    def begin(self, environment: Mapping[str, str]) -> None:
        """Become ready, on the running event loop, once both front ends listen; start the prediction log and traces if they are set.

        Raises:
            ConfigurationError: the log is not writable, or the settings of traces are unsupported.
        """
        loop = asyncio.get_running_loop()
        self.admission.call_soon = self.observations.call_soon = loop.call_soon
        if settings := log_settings.read(environment):
            log = PredictionLog(settings, self.schema, self.version)
            self.observations.start_log(log, loop)
        if settings := log_settings.read_shadow(environment):
            self.observations.start_shadow_log(
                PredictionLog(settings, self.schema, self.version, metrics=_SHADOW_METRICS), loop
            )
        if sampled := sampling(environment):
            self._tracing = Tracing(sampled, environment, self.name, self.version, loop)
        self.ready = True

    def end(self) -> None:
        """Write the rest of the log and the traces; no request may follow."""
        self.observations.stop_log()
        if self._tracing is not None:
            self._tracing.close()

    def answered(self, protocol: str, outcome: str, seconds: float, headers: Mapping[bytes, bytes]) -> None:
        """Count a request that was answered `seconds` after it arrived (body included).

        Args:
            headers: by lower-case name; gRPC's metadata too.
        """
        self.metrics.count(protocol, outcome, seconds)
        if self._tracing is not None:
            self._tracing.answered(protocol, outcome, seconds, headers)

    def check_size(self, rows: int) -> None:
        """Raise TooLargeError for more rows than one request may hold; call it before the rows are built."""
        if rows > self.limits.max_rows:
            raise TooLargeError(f"{rows} rows, but one request may hold at most {self.limits.max_rows}")

    def predict(self, rows: Sequence[Row], request_id: bytes = b"", mirrored: bytes = b"") -> list[Answer]:
        """Return one answer per row, in the form of `contract.model.predictor.Predictor.predict`.

        Args:
            request_id: the caller's name of the request, for the prediction log.
            mirrored: Envoy's name of a request that a shadow gets too, for the comparison.

        Raises:
            TooLargeError: too many rows.
            InvalidRowsError: some rows break the schema; none is predicted then.
        """
        self.check_size(len(rows))
        if not rows:
            return []
        scored, fallbacks = self._predictor.score_rows(rows)
        answers = self._predictor.answers(scored.scores, fallbacks)
        self._observe(scored, request_id, mirrored)
        return answers

    def predict_tensors(
        self,
        given: list[Row] | Columns,
        answer: Callable[[Outputs, Assumed], AnswerT],
        request_id: bytes = b"",
        mirrored: bytes = b"",
    ) -> AnswerT | Unscored[AnswerT]:
        """Return what `answer` makes of the same answers by output and of the rows that took each fallback.

        Args:
            given: rows, or columns, which are left to `rounds` to be scored; their number passed `check_size`.
        """
        if isinstance(given, Columns):
            return self._unscored(given, answer, request_id, mirrored)
        if not given:
            return answer(self._predictor.outputs(np.empty(0, np.float32)), [])
        scored, fallbacks = self._predictor.score_rows(given)
        outputs = self._predictor.outputs(scored.scores)
        self._observe(scored, request_id, mirrored)
        return answer(outputs, by_fallback(fallbacks))

    def _unscored(
        self, given: Columns, answer: Callable[[Outputs, Assumed], AnswerT], request_id: bytes, mirrored: bytes
    ) -> Unscored[AnswerT]:
        def finish(scored: Scored, assumed: Assumed) -> AnswerT:
            outputs = self._predictor.outputs(scored.scores)
            self._observe(scored, request_id, mirrored)
            return answer(outputs, assumed)

        return Unscored(given, finish)

    def _observe(self, scored: Scored, request_id: bytes, mirrored: bytes) -> None:
        self.metrics.count_rows(len(scored.scores))
        named = request_id[:ID_LIMIT_BYTES], mirrored[:ID_LIMIT_BYTES]
        self.observations.add(scored.matrix, scored.scores, *named)


def _check_files(bundle: Path, claims: manifest.Manifest) -> None:
    """Check the model's own files against the manifest; the store verifies the whole bundle, before its code runs."""
    names = sorted(name for name in claims.files if name.startswith(f"{manifest.ARTIFACT}/"))
    problems = [Problem(None, name, "missing") for name in names if not (bundle / name).is_file()]
    problems += [
        Problem(None, name, "changed")
        for name in names
        if (bundle / name).is_file() and sha256(bundle / name) != claims.files[name]
    ]
    if problems:
        raise BundleError(f"the model in {bundle} does not match its manifest; install the bundle again", problems)
