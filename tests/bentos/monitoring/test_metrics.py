"""Counters, sketches and the page that shows them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from bentos.core import Core
from bentos.monitoring.exposition import Family, exposition, labels
from bentos.monitoring.metrics import Metrics
from bentos.monitoring.observations import BATCH_ROWS, Observations
from bentos.monitoring.sketches import MINIMUM_ROWS, WINDOW_S, Sketch, Sketches
from contract.bundle import manifest
from contract.model.encoder import Encoder
from contract.model.predictor import Predictor
from contract.model.reference import Bins, Reference
from contract.prediction_log.records import ID_LIMIT_BYTES
from contract.schema.schema import Feature, FeatureSchema, Field, Target
from harness.waiting import until
from tests.bentos.caller import Caller
from tests.bentos.conftest import Case
from tests.bentos.http.http_server import front_door, one_response, request

FEATURES = tuple(Feature(name, "value", (name,)) for name in ("height", "weight", "secret"))
FIELDS = (Field("height", "number"), Field("weight", "number"), Field("secret", "number", pii=True))
EDGES = (10.0, 20.0, 30.0)
NUMBER = Bins(("≤ 10", "≤ 20", "≤ 30", "> 30", "missing"), (100, 200, 400, 200, 100), EDGES, (0, 1, 2, 3))
CHANCE = Bins(("≤ 0.25", "≤ 0.5", "> 0.5", "missing"), (300, 400, 300, 0), (0.25, 0.5), (0, 1, 2))
KINDS = Bins(("= x", "= y", "= z", "missing"), (10, 20, 30, 0), (0.5, 1.5), (0, 1, 2))
NAN = math.nan
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    """Value by name and labels, without the model's version; each once."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted((k, v) for k, v in sample.labels.items() if k != "model_version")))
            assert key not in found
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labelled: str) -> float:
    return found[name, tuple(sorted(labelled.items()))]


def matrix(*rows: tuple[float, float, float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def sketches(task: str = "binary", prediction: Bins = CHANCE) -> Sketches:
    target = {
        "binary": Target("t", ("no", "yes"), 0.5),
        "multiclass": Target("t", ("x", "y", "z")),
        "regression": Target("t"),
    }[task]
    schema = FeatureSchema("m", task, target, FIELDS, FEATURES)
    reference = Reference(dict.fromkeys(schema.open_features, NUMBER), prediction)
    return Sketches(schema, reference, "v1")


def test_times_are_counted_in_cumulative_buckets() -> None:
    metrics = Metrics("v1")
    for seconds in (0.00005, 0.0001, 0.02, 99.0):
        metrics.count("http", "ok", seconds)
    metrics.count("oip-grpc", "too_large", 0.3)
    metrics.count_rows(7)
    metrics.waited(0.002)
    metrics.in_flight["http"] += (lambda: 1, lambda: 2)
    found = samples(metrics.text())
    ok = {"protocol": "http", "outcome": "ok"}
    seconds = "bulkhead_request_seconds"
    assert value(found, "bulkhead_requests_total", **ok) == 4
    assert value(found, "bulkhead_requests_total", protocol="oip-grpc", outcome="too_large") == 1
    assert value(found, "bulkhead_rows_total") == 7
    assert value(found, "bulkhead_requests_in_flight", protocol="http") == 3
    assert [value(found, f"{seconds}_bucket", le=le, **ok) for le in ("0.0001", "0.01", "0.025", "10.0")] == [
        2,
        2,
        3,
        3,
    ]
    assert value(found, f"{seconds}_bucket", le="+Inf", **ok) == value(found, f"{seconds}_count", **ok) == 4
    assert value(found, f"{seconds}_sum", **ok) == pytest.approx(99.02015)
    waits = [value(found, "bulkhead_queue_wait_seconds_bucket", le=le) for le in ("0.001", "0.0025", "+Inf")]
    assert waits == [0, 1, 1]


def test_labels_are_escaped_as_the_format_has_it() -> None:
    odd = 'a "quoted\\ name\nin {two} lines, ünd more'
    family = Family("odd", "gauge", "Odd")
    family.add(labels({"of": odd}), 1e-9)
    assert samples(exposition([family])) == {("odd", (("of", odd),)): 1e-9}


def test_rows_are_counted_by_bin_but_for_pii_features() -> None:
    gathered = sketches()
    gathered.add(matrix((10, 11, 1), (30.5, NAN, 2), (20, NAN, 3)), np.array([0.1, 0.5, 0.9], np.float32))
    gathered.add(matrix((math.inf, -5, 1)), np.array([0.4999], np.float32))
    found = samples(exposition(gathered.collect()))
    counted = [value(found, "bulkhead_feature_rows_total", feature="height", bin=name) for name in NUMBER.names]
    assert counted == [1, 1, 0, 2, 0]
    counted = [value(found, "bulkhead_feature_rows_total", feature="weight", bin=name) for name in NUMBER.names]
    assert counted == [1, 1, 0, 0, 2]
    reference = "bulkhead_feature_reference_rows"
    assert [value(found, reference, feature="weight", bin=name) for name in NUMBER.names] == list(NUMBER.rows)
    assert "secret" not in exposition(gathered.collect())
    buckets = [value(found, "bulkhead_prediction_bucket", le=le) for le in ("0.25", "0.5", "+Inf")]
    assert buckets == [1, 3, 4]
    assert value(found, "bulkhead_prediction_sum") == pytest.approx(0.1 + 0.5 + 0.9 + 0.4999)
    assert [value(found, "bulkhead_predicted_labels_total", label=label) for label in ("no", "yes")] == [2, 2]


def test_predictions_of_other_tasks_are_counted_by_label_or_value() -> None:
    kinds = sketches("multiclass", KINDS)
    kinds.add(matrix((1, 1, 1), (1, 1, 1)), np.array([[0.2, 0.4, 0.4], [0.1, 0.2, 0.7]], np.float32))
    found = samples(exposition(kinds.collect()))
    assert [value(found, "bulkhead_predicted_labels_total", label=label) for label in "xyz"] == [0, 1, 1]
    assert not any(name.startswith("bulkhead_prediction_bucket") for name, _ in found)
    numbers = sketches("regression", NUMBER)
    numbers.add(matrix((1, 1, 1)), np.array([25], np.float32))
    found = samples(exposition(numbers.collect()))
    assert value(found, "bulkhead_prediction_bucket", le="30.0") == value(found, "bulkhead_prediction_sum") / 25 == 1
    assert not any("label" in name for name, _ in found)


def test_drift_is_small_for_rows_like_those_of_the_training_and_large_for_others(case: Case) -> None:
    """Rows drawn from the bins of the real reference; then one feature is stuck."""
    content = (case.bundle / manifest.ARTIFACT / "reference.json").read_bytes()
    reference = Reference.from_bytes(content, case.schema)
    draw, rows = Random(3), 4000
    columns = dict.fromkeys(case.schema.feature_names, np.zeros(rows, np.float32))  # those of PII have no bins
    columns |= {name: np.array(_drawn(bins, rows, draw), np.float32) for name, bins in reference.features.items()}
    scores = np.array(_drawn(reference.prediction, rows, draw), np.float32)
    like = Sketches(case.schema, reference, "v1")
    like.add(np.stack([columns[name] for name in case.schema.feature_names], axis=1), scores)
    found = samples(exposition(like.collect()))
    drift = {dict(of)["feature"]: psi for (name, of), psi in found.items() if name == "bulkhead_feature_drift_psi"}
    assert drift.keys() == reference.features.keys()
    assert max(*drift.values(), value(found, "bulkhead_prediction_drift_psi")) < 0.05
    stuck = max(reference.features, key=lambda name: len(reference.features[name].names))
    columns[stuck][:] = columns[stuck][0]
    other = Sketches(case.schema, reference, "v1")
    other.add(np.stack([columns[name] for name in case.schema.feature_names], axis=1), scores)
    found = samples(exposition(other.collect()))
    assert value(found, "bulkhead_feature_drift_psi", feature=stuck) > 1
    assert sum(psi > 0.1 for (name, _), psi in found.items() if name == "bulkhead_feature_drift_psi") == 1


def _drawn(bins: Bins, rows: int, draw: Random) -> list[float]:
    """Values that fall into the bins as often as training rows did."""
    middles: dict[int, float] = {len(bins.names) - 1: NAN}
    for at, place in enumerate(bins.places):
        below = bins.edges[at - 1] if at else bins.edges[0] - 1 if bins.edges else 0.0
        middles[place] = (below + (bins.edges[at] if at < len(bins.edges) else below + 2)) / 2
    return [middles[place] for place in draw.choices(range(len(bins.rows)), bins.rows, k=rows)]


def test_drift_is_told_of_the_last_day_and_only_of_enough_rows() -> None:
    sketch = Sketch([NUMBER])
    sketch.add(np.full((1, MINIMUM_ROWS - 1), 25, np.float32), 1.0)
    assert sketch.drift(0) is None
    sketch.add(np.full((1, 1), 25, np.float32), 1.0)
    before = sketch.drift(0)
    assert before
    assert before > 0.25
    usual = np.repeat(np.array([5, 15, 25, 35, NAN], np.float32), np.array(NUMBER.rows))[np.newaxis]
    sketch.add(usual, 0.5)
    mixed = sketch.drift(0)
    sketch.add(usual, math.exp(-20 * 86_400 / WINDOW_S))
    after = sketch.drift(0)
    assert mixed is not None
    assert after is not None
    assert before > mixed > after
    assert after < 1e-6
    assert sum(sketch.totals(0)) == MINIMUM_ROWS + 2000


def test_observations_are_looked_at_in_batches_and_when_they_are_asked_for() -> None:
    observed = Observations(gathered := sketches())
    row, score = matrix((1, 2, 3)), np.array([0.5], np.float32)
    for _ in range(BATCH_ROWS - 1):
        observed.add(row, score, b"")
    assert value(samples(exposition(gathered.collect())), "bulkhead_prediction_count") == 0
    observed.add(row, score, b"")
    assert value(samples(exposition(gathered.collect())), "bulkhead_prediction_count") == BATCH_ROWS
    observed.add(row, score, b"")
    assert value(samples(exposition(observed.collect())), "bulkhead_prediction_count") == BATCH_ROWS + 1


def test_observations_are_looked_at_after_the_answers_of_a_round_where_there_is_an_event_loop() -> None:
    observed = Observations(gathered := sketches())
    later: list[Callable[[], None]] = []
    observed.call_soon = later.append
    rows, scores = matrix((1, 2, 3)).repeat(BATCH_ROWS, axis=0), np.full(BATCH_ROWS, 0.5, np.float32)
    for _ in range(3):
        observed.add(rows, scores, b"")
    assert value(samples(exposition(gathered.collect())), "bulkhead_prediction_count") == 0
    (flush,) = later
    flush()
    assert value(samples(exposition(gathered.collect())), "bulkhead_prediction_count") == 3 * BATCH_ROWS
    observed.add(rows, scores, b"")
    assert len(later) == 2


def test_rows_of_real_requests_are_counted_as_numpy_counts_them(core: Core, case: Case, http: Caller) -> None:
    before = samples(core.metrics.text())
    assert [http.predict(rows).status for rows in (case.rows, case.rows[:1], [{"no_such_field": 1}], [])] == [
        200,
        200,
        422,
        200,
    ]
    found = samples(core.metrics.text())
    encoded, _ = Encoder(case.schema).encode_rows([*case.rows, case.rows[0]])
    content = (case.bundle / manifest.ARTIFACT / "reference.json").read_bytes()
    for name, bins in Reference.from_bytes(content, case.schema).features.items():
        column = encoded[:, case.schema.feature_names.index(name)]
        edges = np.array([-np.inf, *bins.edges, np.inf])
        expected = dict.fromkeys(bins.names, 0)
        for low, high, place in zip(edges, edges[1:], bins.places, strict=False):
            expected[bins.names[place]] += int(((column > low) & (column <= high)).sum())
        expected["missing"] += int(np.isnan(column).sum())
        counted = {
            bin_name: value(found, "bulkhead_feature_rows_total", feature=name, bin=bin_name)
            - before.get(("bulkhead_feature_rows_total", (("bin", bin_name), ("feature", name))), 0)
            for bin_name in bins.names
        }
        assert counted == expected, name
    rows = value(found, "bulkhead_prediction_count") - value(before, "bulkhead_prediction_count")
    scores = Predictor.load(case.bundle / manifest.ARTIFACT).score_matrix(encoded)
    total = value(found, "bulkhead_prediction_sum") - value(before, "bulkhead_prediction_sum")
    assert rows == len(case.rows) + 1
    assert total == pytest.approx(float(scores.sum(dtype=np.float64)), rel=1e-9)


def in_flight(core: Core) -> int:
    return sum(count() for count in core.metrics.in_flight["http"])


def test_requests_are_in_flight_while_their_bodies_come_and_answers_name_them(core: Core, case: Case) -> None:
    body = json.dumps({"rows": [case.row]}).encode()
    with front_door(core) as door, door.connect() as first, door.connect() as second:
        for connection, name in ((first, "mine"), (second, "x" * (ID_LIMIT_BYTES + 1))):
            connection.sendall(request("/predict", body, f"X-Request-Id: {name}")[:-1])
        until(lambda: in_flight(core) == 2)
        first.sendall(body[-1:])
        status, headers, _ = one_response(first)
        assert (status, headers["x-request-id"], in_flight(core)) == (200, "mine", 1)
        second.sendall(body[-1:])
        status, headers, _ = one_response(second)
        assert (status, "x-request-id" in headers, in_flight(core)) == (200, False, 0)
        first.sendall(request("/predict", body)[:-1])
        until(lambda: in_flight(core) == 1)
        first.close()
        until(lambda: in_flight(core) == 0)
