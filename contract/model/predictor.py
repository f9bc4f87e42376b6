"""The predictor: artifact and schema to answers. `evaluate` judges with it, golden answers are made with it, the server runs it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.errors import BundleError, Problem
from contract.model.columns.program import Assumed, Columns
from contract.model.encoder import Encoder
from contract.model.row_program import Fallback, Row
from contract.model.runtime import onnxruntime
from contract.schema import schema as feature_schema
from contract.schema.schema import FeatureSchema
from contract.schema.tasks import TASKS

MODEL_FILE_NAME = "model.onnx"
Answer = dict[str, Any]
Outputs = dict[str, list[Any]]  # by the name of an output, its value for each row


class Scored(NamedTuple):
    """Rows, encoded (float32, rows × features, NaN for missing), and their scores, as `score_matrix` gives them."""

    matrix: NDArray[np.float32]
    scores: NDArray[np.float32]


class Predictor:
    """Scores rows and tables with an ONNX model, for one thread. Equal input gives bit-equal output, whatever the batch."""

    def __init__(self, model: Path, schema: FeatureSchema) -> None:
        self.schema = schema
        self._encoder = Encoder(schema)
        self._session = _session(model)
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[-1].name
        self._score_one = _one_row(self._session, len(schema.features))
        self._threshold = schema.target.threshold or 0.0
        self._form = TASKS[schema.task].form

    @classmethod
    def load(cls, directory: Path) -> Predictor:
        """The predictor of a directory that holds `model.onnx` and `schema.json`."""
        try:
            schema = FeatureSchema.from_bytes((directory / feature_schema.FILE_NAME).read_bytes())
        except OSError as error:
            raise BundleError(f"{directory} holds no {feature_schema.FILE_NAME}: {error}") from error
        return cls(directory / MODEL_FILE_NAME, schema)

    def predict(self, rows: Sequence[Row]) -> list[Answer]:
        """One answer a row, with `fallbacks` where the encoding took any.

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
        """Encode and score one row or more; with the fallbacks of each.

        Raises:
            InvalidRowsError: rows that break the schema; nothing is predicted then.
        """
        matrix, fallbacks = self._encoder.encode_rows(rows)
        return Scored(matrix, self.score_matrix(matrix)), fallbacks

    def score_columns(self, columns: Columns) -> tuple[Scored, Assumed]:
        """Encode and score the same rows, given as columns; with the rows that took each fallback."""
        matrix, assumed = self._encoder.encode_columns(columns)
        return Scored(matrix, self.score_matrix(matrix)), assumed

    def score_table(self, columns: Mapping[str, Sequence[Any]]) -> NDArray[np.float32]:
        """Score every row of a table, as `score_matrix` does."""
        return self.score_matrix(self._encoder.encode_table(columns))

    def outputs(self, scores: NDArray[np.float32]) -> Outputs:
        """What is answered, by its name: a value for each row; of `probabilities` a list in the order of the labels.

        Raises:
            ArithmeticError: the model gave NaN or infinity, which never gets out.
        """
        labels, values = self.schema.target.labels, scores.tolist()
        if self._form == "probabilities":
            _check_finite(sum(map(sum, values)))
            return {"probabilities": values, "label": [labels[row.index(max(row))] for row in values]}
        _check_finite(sum(values))
        if self._form == "value":
            return {"value": values}
        threshold = self._threshold
        return {"probability": values, "label": [labels[value >= threshold] for value in values]}

    def answers(self, scores: NDArray[np.float32], fallbacks: Sequence[list[Fallback]]) -> list[Answer]:
        """An answer for each row; raises ArithmeticError as `outputs` does."""
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
        else:
            answers = [{"value": value} for value in outputs["value"]]
        if any(fallbacks):
            for answer, taken in zip(answers, fallbacks, strict=True):
                if taken:
                    answer["fallbacks"] = taken
        return answers

    def score_matrix(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores of rows already encoded (float32, rows × features, NaN for missing), as float32.

        Shape (rows,) for the probability of the positive label, or the value of a regression; (rows, labels) for the
        probabilities of a multiclass target.
        """
        if len(matrix) == 1:
            scores = self._score_one(matrix)
        else:
            (scores,) = self._session.run([self._output], {self._input: matrix})
        if self._form == "probability":
            return scores[:, -1].copy()  # bundles of before have the other label's probability beside it
        return scores.copy() if self._form == "probabilities" else scores.reshape(-1).copy()

    def check_golden(self, golden: Path) -> int:
        """Answer the golden requests and compare with the answers recorded there. Returns how many there are.

        Raises:
            BundleError: naming the requests whose answer differs; this artifact is not the one that was judged.
        """
        try:
            cases = json.loads(golden.read_bytes())
            rows, expected = [case["row"] for case in cases], [case["answer"] for case in cases]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{golden} holds no golden requests: {error}") from error
        answers = self.predict(rows)
        if differing := [index for index, answer in enumerate(answers) if answer != expected[index]]:
            problems = [Problem(index, None, "the answer differs from the recorded one") for index in differing]
            raise BundleError(f"{len(differing)} of {len(cases)} golden answers differ", problems)
        return len(cases)


def _check_finite(total: float) -> None:
    """A sum of float32 numbers, in double precision, is finite if they all are."""
    if not math.isfinite(total):
        raise ArithmeticError("the model gave a score that is no finite number")


def _session(model: Path) -> onnxruntime.InferenceSession:
    if not model.is_file():
        raise BundleError(f"no model at {model}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # nothing large is allocated in a run, and the arena keeps a megabyte for it
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BundleError(f"{model} is not a model that ONNX Runtime can load: {error}") from error


def _one_row(
    session: onnxruntime.InferenceSession, features: int
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """A function that scores one row in memory bound once; what it returns holds until its next call.

    Binding anew with every call is a third of what one row costs.

    Raises:
        BundleError: the model does not take a row of so many features.
    """
    name, output = session.get_inputs()[0].name, session.get_outputs()[-1].name
    row = np.zeros((1, features), np.float32)
    try:
        (scores,) = session.run([output], {name: row})
    except Exception as error:
        raise BundleError(f"the model does not take the {features} features of its schema: {error}") from error
    scored: NDArray[np.float32] = scores
    binding = session.io_binding()
    binding.bind_input(name, "cpu", 0, np.float32, row.shape, row.ctypes.data)
    binding.bind_output(output, "cpu", 0, np.float32, scored.shape, scored.ctypes.data)

    def score(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        row[:] = matrix
        session.run_with_iobinding(binding)
        return scored

    return score
