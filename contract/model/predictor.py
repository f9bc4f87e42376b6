"""The predictor: artifact and schema to answers, in `evaluate`, in golden answers and in servers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.errors import BundleError, Problem, RequestError
from contract.model.columns.program import Assumed, Columns
from contract.model.encoder import Encoder, TableColumn
from contract.model.row_program import Fallback, Row
from contract.model.runtime import onnxruntime
from contract.schema import schema as feature_schema
from contract.schema.schema import FeatureSchema
from contract.schema.tasks import TASKS

MODEL_FILE_NAME = "model.onnx"
Answer = dict[str, Any]
Outputs = dict[str, list[Any]]  # by the name of an output, its value for each row


class Scored(NamedTuple):
    """Encoded rows (float32, rows × features, NaN for missing), and their scores from `score_matrix`."""

    matrix: NDArray[np.float32]
    scores: NDArray[np.float32]


class Predictor:
    """A scorer of rows and tables with an ONNX model, for one thread.

    Equal input gives bit-equal output in every batch.

    Attributes:
        encoder: the encoder of its schema, which any thread may use.
    """

    def __init__(self, model: Path, schema: FeatureSchema) -> None:
        self.schema = schema
        self.encoder = Encoder(schema)
        self._session = _session(model)
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[-1].name
        self._score_one = _one_row(self._session, len(schema.features))
        self._threshold = schema.target.threshold or 0.0
        self._form = TASKS[schema.task].form

    @classmethod
    def load(cls, directory: Path) -> Predictor:
        """Return the predictor of a directory with `model.onnx` and `schema.json`."""
        try:
            schema = FeatureSchema.from_bytes((directory / feature_schema.FILE_NAME).read_bytes())
        except OSError as error:
            raise BundleError(f"{directory} has no {feature_schema.FILE_NAME}: {error}") from error
        return cls(directory / MODEL_FILE_NAME, schema)

    def predict(self, rows: Sequence[Row]) -> list[Answer]:
        """Return an answer for each row, with `fallbacks` if its encoding took any.

        Its keys are those of the task's form of answer (`contract.schema.tasks`).

        Raises:
            InvalidRowsError: rows that break the schema; nothing is predicted then.
            ArithmeticError: the model gave NaN or infinity, which never gets out.
        """
        if not rows:
            return []
        scored, fallbacks = self.score_rows(rows)
        return self.answers(scored.scores, fallbacks)

    def score_rows(self, rows: Sequence[Row]) -> tuple[Scored, list[list[Fallback]]]:
        """Encode and score one row or more; return the fallbacks of each too.

        Raises:
            InvalidRowsError: rows violate the schema; nothing is predicted then.
        """
        matrix, fallbacks = self.encoder.encode_rows(rows)
        return Scored(matrix, self.score_matrix(matrix)), fallbacks

    def score_columns(self, requests: Sequence[Columns]) -> list[tuple[Scored, Assumed] | RequestError]:
        """Encode and score rows given as columns, those of all valid requests at once.

        Returns:
            for each request its rows and scores, and its fallbacks with their rows; or why it is invalid.
        """
        matrix, found = self.encoder.encode_columns(requests)
        invalid = [each for each in found if isinstance(each, RequestError)]
        if len(invalid) == len(requests):
            return [*invalid]
        scores, end = self.score_matrix(matrix), 0
        results: list[tuple[Scored, Assumed] | RequestError] = []
        for columns, each in zip(requests, found, strict=True):
            if isinstance(each, RequestError):
                results.append(each)
            else:
                start, end = end, end + columns.size
                results.append((Scored(matrix[start:end], scores[start:end]), each))
        return results

    def score_table(self, columns: Mapping[str, TableColumn]) -> NDArray[np.float32]:
        """Score every row of a table, as `score_matrix` does."""
        return self.score_matrix(self.encoder.encode_table(columns))

    def outputs(self, scores: NDArray[np.float32]) -> Outputs:
        """Return the outputs by name, a value for each row; of `probabilities` a list in the order of the labels.

        Each quantile is an output of its own, named as in `Target.quantile_outputs`.

        Raises:
            ArithmeticError: the model gave NaN or infinity, which never gets out.
        """
        target = self.schema.target
        if self._form == "quantiles":
            columns = scores.T.tolist()
            _check_finite(sum(map(sum, columns)))
            return dict(zip(target.quantile_outputs, columns, strict=True))
        labels, values = target.labels, scores.tolist()
        if self._form == "probabilities":
            _check_finite(sum(map(sum, values)))
            # The first of equal ones, as `argmax` has it.
            return {"probabilities": values, "label": [labels[row.index(max(row))] for row in values]}
        _check_finite(sum(values))
        if self._form == "value":
            return {"value": values}
        threshold = self._threshold
        return {"probability": values, "label": [labels[value >= threshold] for value in values]}

    def answers(self, scores: NDArray[np.float32], fallbacks: Sequence[list[Fallback]]) -> list[Answer]:
        """Return an answer for each row; raises ArithmeticError as `outputs` does."""
        outputs = self.outputs(scores)
        # By form: to zip names with values would be a tenth of what a single row takes.
        answers: list[Answer]
        if self._form == "probability":
            pairs = zip(outputs["probability"], outputs["label"], strict=True)
            answers = [{"probability": chance, "label": label} for chance, label in pairs]
        elif self._form == "probabilities":
            labels, pairs = self.schema.target.labels, zip(outputs["probabilities"], outputs["label"], strict=True)
            answers = [
                {"probabilities": dict(zip(labels, chances, strict=True)), "label": label} for chances, label in pairs
            ]
        elif self._form == "quantiles":
            levels, by_row = self.schema.target.scored, zip(*outputs.values(), strict=True)
            answers = [{"quantiles": dict(zip(levels, values, strict=True))} for values in by_row]
        else:
            answers = [{"value": value} for value in outputs["value"]]
        if any(fallbacks):
            for answer, taken in zip(answers, fallbacks, strict=True):
                if taken:
                    answer["fallbacks"] = taken
        return answers

    def score_matrix(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the float32 scores of encoded rows (float32, rows × features, NaN for missing).

        Shape (rows,) for the probability of the positive label, or the value of a regression; (rows, labels) for the
        probabilities of a multiclass target, (rows, levels) for quantiles, ascending in each row.
        """
        if len(matrix) == 1:
            scores = self._score_one(matrix)
        else:
            (scores,) = self._session.run([self._output], {self._input: matrix})
        if self._form == "probability":
            return scores[:, -1].copy()  # older models also output the other label's probability
        return scores.reshape(-1).copy() if self._form == "value" else scores.copy()

    def check_golden(self, golden: Path) -> int:
        """Compare the answers to golden requests with the recorded ones, and return their number.

        Raises:
            BundleError: answers differ, so this artifact is not the one that was evaluated; it names the requests.
        """
        try:
            cases = json.loads(golden.read_bytes())
            rows, expected = [case["row"] for case in cases], [case["answer"] for case in cases]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{golden} has no valid golden requests: {error}") from error
        answers = self.predict(rows)
        # Equal to the last bit, without a tolerance: another processor or library is found here, before it answers.
        if differing := [index for index, answer in enumerate(answers) if answer != expected[index]]:
            problems = [Problem(index, None, "the answer differs from the recorded one") for index in differing]
            raise BundleError(f"{len(differing)} of {len(cases)} golden answers differ", problems)
        return len(cases)


def _check_finite(total: float) -> None:
    """Raise ArithmeticError for a sum that is not finite: a sum of float32 numbers in double precision is if all of them are."""
    if not math.isfinite(total):
        raise ArithmeticError("the model gave a score that is NaN or infinite")


def _session(model: Path) -> onnxruntime.InferenceSession:
    if not model.is_file():
        raise BundleError(f"no model at {model}")
    options = onnxruntime.SessionOptions()
    # With more threads ONNX Runtime gives a row other last bits in a batch of more than 50 rows than alone.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # a run allocates little, and the arena would keep a megabyte
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BundleError(f"{model} is not a model that ONNX Runtime can load: {error}") from error


def _one_row(
    session: onnxruntime.InferenceSession, features: int
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return a function that scores one row in memory bound once; its result is valid until its next call.

    Binding again in every call would take a third of the time of one row.

    Raises:
        BundleError: the model does not accept a row with this number of features.
    """
    name, output = session.get_inputs()[0].name, session.get_outputs()[-1].name
    row = np.zeros((1, features), np.float32)
    try:
        (scores,) = session.run([output], {name: row})
    except Exception as error:
        raise BundleError(f"the model does not accept the {features} features of its schema: {error}") from error
    scored: NDArray[np.float32] = scores
    binding = session.io_binding()
    binding.bind_input(name, "cpu", 0, np.float32, row.shape, row.ctypes.data)
    binding.bind_output(output, "cpu", 0, np.float32, scored.shape, scored.ctypes.data)

    def score(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        row[:] = matrix
        session.run_with_iobinding(binding)
        return scored

    return score
