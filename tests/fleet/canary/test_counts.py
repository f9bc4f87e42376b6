"""What replicas answered between two looks: pages of metrics, and what stands in where a counter was reset."""

import pytest

from bentos.monitoring.metrics import Metrics
from fleet.canary.counts import Ledger, of_kind, outcomes, parse, quantile, rebinned

PAGE = """\
# HELP bulkhead_prediction Predicted probabilities
bulkhead_prediction_bucket{model_version="a",le="0.1"} 3
bulkhead_prediction_bucket{model_version="a",le="0.5"} 5
bulkhead_prediction_bucket{model_version="a",le="+Inf"} 9
bulkhead_prediction_count{model_version="a"} 9
bulkhead_predicted_labels_total{label="on \\"time\\"",model_version="a"} 8
"""


def test_page_of_a_replica_is_read_by_bin_and_not_cumulative() -> None:
    assert of_kind(parse(PAGE), "score") == {"0.1": 3, "0.5": 2, "+Inf": 4}
    assert of_kind(parse(PAGE), "label") == {'on \\"time\\"': 8}


def test_what_a_server_counts_is_what_is_read() -> None:
    metrics = Metrics("v1")
    for protocol, outcome, seconds in (
        ("http", "ok", 0.0001),
        ("oip-grpc", "ok", 0.00011),
        ("http", "ok", 99.0),
        ("http", "internal", 0.1),
        ("http", "invalid_rows", 0.1),
        ("http", "overloaded", 0.1),
    ):
        metrics.count(protocol, outcome, seconds)
    tally = parse(metrics.text())
    assert outcomes(tally) == (5, 1, 1)  # a refusal for load is not judged
    counted = {bound: count for bound, count in of_kind(tally, "latency").items() if count}
    assert counted == {"0.0001": 1, "0.000125": 1, "+Inf": 1}


def test_first_look_is_where_counting_begins() -> None:
    ledger = Ledger()
    assert ledger.since("a", {("outcome", "ok"): 70}, (70, 0)) == {}
    assert ledger.since("a", {("outcome", "ok"): 75, ("outcome", "internal"): 1}, (76, 1)) == {
        ("outcome", "ok"): 5,
        ("outcome", "internal"): 1,
    }


@pytest.mark.parametrize("page", [{("outcome", "ok"): 2}, {("outcome", "internal"): 9}])
def test_envoy_stands_in_when_a_counter_was_reset_or_is_missing(page: dict[tuple[str, str], float]) -> None:
    ledger = Ledger()
    ledger.since("a", {("outcome", "ok"): 7}, (7, 0))
    assert ledger.since("a", page, (17, 3)) == {("outcome", "ok"): 7, ("outcome", "internal"): 3}


def test_envoy_stands_in_when_a_replica_is_silent_for_some_time() -> None:
    ledger = Ledger()
    ledger.since("a", {("outcome", "ok"): 7}, (7, 0))
    looks = [ledger.since("a", None, (7 + look, look)) for look in range(1, 6)]
    assert looks[:3] == [{}] * 3
    assert looks[3:] == [{("outcome", "ok"): 0, ("outcome", "internal"): count} for count in (4, 1)]


def test_nothing_is_counted_when_envoy_was_reset_too_or_does_not_know() -> None:
    ledger = Ledger()
    ledger.since("a", {("outcome", "ok"): 7}, (7, 0))
    assert ledger.since("a", {("outcome", "ok"): 1}, (2, 0)) == {}
    assert ledger.since("a", {("outcome", "ok"): 0}, None) == {}
    assert ledger.since("a", {("outcome", "internal"): 9}, (9, 9)) == {}


def test_refusals_that_envoy_counts_are_no_errors_when_a_page_was_only_late() -> None:
    ledger, seen = Ledger(), []
    for page, host in ((10, (10, 0)), (None, (14, 3)), (20, (25, 5)), (25, (31, 6))):
        counted = None if page is None else {("outcome", "ok"): page, ("outcome", "overloaded"): host[0] - page}
        seen.append(ledger.since("a", counted, host))
    assert seen[1] == {}
    assert [outcomes(each) for each in seen[2:]] == [(10, 0, 0), (5, 0, 0)]


def test_replica_that_left_and_came_again_starts_anew() -> None:
    ledger = Ledger()
    ledger.since("a", {("outcome", "ok"): 7}, (7, 0))
    ledger.forget_others([])
    assert ledger.since("a", {("outcome", "ok"): 9}, (9, 0)) == {}


def test_quantile_lies_within_its_bin() -> None:
    assert quantile({"1.0": 0, "2.0": 10, "+Inf": 0}, 0.5) == pytest.approx(2**0.5)
    assert quantile({"1.0": 4, "2.0": 0, "+Inf": 0}, 1.0) == pytest.approx(1.0)
    assert quantile({"1.0": 0, "2.0": 0, "+Inf": 1}, 1.0) == pytest.approx(4.0)
    assert quantile({"1.0": 0}, 0.5) is None


def test_bins_of_another_bundle_are_brought_to_these() -> None:
    even = {"0.25": 25.0, "0.5": 25.0, "0.75": 25.0, "+Inf": 25.0}
    found = rebinned(even, ["0.5", "0.6", "+Inf"])
    assert found == pytest.approx({"0.5": 50.0, "0.6": 10.0, "+Inf": 40.0})
    assert rebinned(even, even) == even
