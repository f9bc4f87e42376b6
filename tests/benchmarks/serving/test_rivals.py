"""What the model servers of others are sent, and how their answers are judged."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from benchmarks.serving import peer_servers, rivals
from benchmarks.serving.replica import WrongAnswerError
from bentos.protos import oip_pb2

ROW = np.array([1.0, np.nan, 0.1, -1e-7], np.float32)
CASE = {"answer": {"probability": 0.25, "label": "on_time"}}


def test_row_in_json_has_its_every_bit_and_null_for_what_is_missing() -> None:
    (tensor,) = json.loads(rivals._json(ROW))["inputs"]
    assert (tensor["datatype"], tensor["shape"]) == ("FP32", [1, 4])
    assert tensor["data"][1] is None
    assert np.array_equal(np.array(tensor["data"], np.float32), ROW, equal_nan=True)


def test_row_in_a_message_has_its_every_bit() -> None:
    request = oip_pb2.ModelInferRequest.FromString(rivals._message(ROW))
    (tensor,) = request.inputs
    assert (request.model_name, tensor.datatype, list(tensor.shape)) == (peer_servers.MODEL, "FP32", [1, 4])
    assert np.array_equal(np.array(tensor.contents.fp32_contents, np.float32), ROW, equal_nan=True)


@pytest.mark.parametrize("probability", [0.25, 0.25 + 9e-7])
def test_answer_that_is_the_golden_one_to_the_precision_of_xgboost_is_right(probability: float) -> None:
    rivals._check(probability, CASE)


@pytest.mark.parametrize("probability", [0.25 + 2e-6, 0.75, math.nan])
def test_any_other_answer_stops_the_run(probability: float) -> None:
    with pytest.raises(WrongAnswerError, match="golden answer"):
        rivals._check(probability, CASE)


def test_every_rival_can_be_started_and_has_a_name_for_figures() -> None:
    assert rivals._PYTHONS.keys() <= peer_servers.STARTERS.keys()
    assert {rivals._name(name) for name in rivals._PYTHONS} == {"bulkhead", "mlserver", "litserve", "ray_serve"}
