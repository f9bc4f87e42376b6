from __future__ import annotations

import pytest

from fleet.envoy.proxy import Host, Hosts
from fleet.scaling.reader import Counters, Reader

LIVE, SHADOW = "a" * 64, "b" * 64


class Envoy:
    """An Envoy with replicas `a-0` and `a-1` of the live bundle, and `b-0` of a shadow."""

    def __init__(self) -> None:
        self.epoch, self.total, self.completed, self.failed = 0, 0, 0, 0
        self.active = {"a-0": [0, 0], "a-1": [0, 0], "b-0": [50, 0]}
        self.out: set[str] = set()
        self.answers = True

    def hosts(self) -> Hosts:
        if not self.answers:
            raise TimeoutError
        return {
            (f"{protocol}-{name[0] * 16}", f"/run/{name}.{protocol}"): Host(name not in self.out, False, active, 0, 0)
            for name, counts in self.active.items()
            for protocol, active in zip(("http", "grpc"), counts, strict=True)
        }

    def counters(self) -> str:
        if not self.answers:
            raise ConnectionRefusedError
        counts = {"total": self.total, "completed": self.completed, "5xx": self.failed}
        lines = [f"http.http.downstream_rq_{name}: {count}" for name, count in counts.items()]
        lines += [f"http.grpc.downstream_rq_{name}: 0" for name in counts]
        return "\n".join([*lines, f"server.hot_restart_epoch: {self.epoch}", ""])


def opened() -> tuple[Envoy, Reader]:
    envoy = Envoy()
    reader = Reader(envoy, iter(range(100)).__next__)  # a second passes between two samples
    reader.watch([LIVE])
    assert reader.take() is None  # nothing to count from yet
    return envoy, reader


def test_sample_has_the_mean_of_the_polls_and_the_growth_of_the_counters() -> None:
    envoy, reader = opened()
    for envoy.active["a-0"] in ([1, 0], [2, 3]):
        reader.poll()
    envoy.total, envoy.completed, envoy.failed = 30, 25, 5
    sample = reader.take()
    assert sample is not None
    assert sample.in_flight == (3.0, 0.0)
    assert (sample.arrived, sample.answered, sample.seconds, sample.polls) == (30, 20, 1, 2)


def test_replicas_without_requests_of_callers_do_not_count() -> None:
    envoy, reader = opened()
    envoy.active["a-0"], envoy.out = [7, 0], {"a-0"}
    reader.poll()
    sample = reader.take()
    assert sample is not None
    assert sample.in_flight == (0.0,)


def test_sample_is_missing_when_one_poll_failed_and_complete_afterwards() -> None:
    envoy, reader = opened()
    reader.poll()
    envoy.answers = False
    reader.poll()
    envoy.answers = True
    assert reader.take() is None
    reader.poll()
    assert reader.take() is not None


def test_sample_is_missing_when_the_counters_are() -> None:
    envoy, reader = opened()
    reader.poll()
    envoy.answers = False
    assert reader.take() is None
    envoy.answers = True
    reader.poll()
    assert reader.take() is None  # again, nothing to count from
    reader.poll()
    assert reader.take() is not None


@pytest.mark.parametrize("epoch", [0, 1])
def test_sample_is_missing_when_another_envoy_counts_from_zero(epoch: int) -> None:
    envoy, reader = opened()
    envoy.total = envoy.completed = 1000
    reader.poll()
    assert reader.take() is not None
    # A hot restart has another epoch; a killed Envoy starts again as the first.
    envoy.epoch, envoy.total, envoy.completed = epoch, 10, 10
    reader.poll()
    assert reader.take() is None
    envoy.total = envoy.completed = 30
    reader.poll()
    sample = reader.take()
    assert sample is not None
    assert sample.arrived == 20


def test_sample_is_missing_when_a_successor_has_counted_more_already() -> None:
    envoy, reader = opened()
    envoy.epoch, envoy.total = 1, 5000
    reader.poll()
    assert reader.take() is None


def test_counters_are_refused_when_one_is_absent() -> None:
    with pytest.raises(ValueError, match="lack"):
        Counters.parse("http.http.downstream_rq_total: 3\n")


def test_thread_polls_while_it_is_open() -> None:
    envoy = Envoy()
    reader = Reader(envoy)
    reader.open([LIVE])
    try:
        assert reader.take() is None
        assert reader.polled.wait(60)
        sample = reader.take()
        assert sample is not None
        assert sample.in_flight == (0.0, 0.0)
    finally:
        reader.close()
