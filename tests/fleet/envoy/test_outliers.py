"""Which replicas are taken for broken, by their counts of requests and failures."""

from __future__ import annotations

import pytest

from fleet.envoy.outliers import Endpoint, Outliers
from fleet.envoy.proxy import Host

ONE, TWO = (Endpoint(name, 1, "a" * 64, "grpc") for name in ("one", "two"))


def host(requests: int, errors: int, *, healthy: bool = True) -> Host:
    return Host(healthy=healthy, draining=False, active_requests=0, requests=requests, errors=errors)


@pytest.mark.parametrize(
    ("one", "two", "found"),
    [
        ((100, 100), (100, 0), ["one"]),
        ((100, 50), (100, 10), ["one"]),
        ((100, 40), (100, 0), []),
        ((19, 19), (100, 0), []),  # too few
        ((100, 100), (19, 0), []),  # nothing to compare it with
        ((100, 100), (100, 100), []),  # the requests' fault, or the bundle's
    ],
)
def test_replica_is_an_outlier_when_it_fails_and_its_sibling_does_not(
    one: tuple[int, int], two: tuple[int, int], found: list[str]
) -> None:
    outliers = Outliers()
    assert outliers.look({ONE: host(1000, 500), TWO: host(1000, 0)}, now=0) == []
    hosts = {ONE: host(1000 + one[0], 500 + one[1]), TWO: host(1000 + two[0], two[1])}
    assert outliers.look(hosts, now=1) == found
    assert outliers.look(hosts, now=60) == []  # old counts are forgotten


def test_counts_begin_anew_when_the_process_or_envoy_is_another_or_it_was_out_of_rotation() -> None:
    well, failed = host(100, 0), host(100, 100)
    outliers = Outliers()
    outliers.look({ONE: host(0, 0), TWO: host(0, 0)}, now=0)
    restarted = Endpoint("one", 2, ONE.digest, ONE.protocol)
    assert outliers.look({restarted: failed, TWO: well}, now=1) == []
    outliers = Outliers()
    outliers.look({ONE: host(500, 0), TWO: host(0, 0)}, now=0)
    assert outliers.look({ONE: failed, TWO: well}, now=1) == []
    outliers = Outliers()
    outliers.look({ONE: host(0, 0, healthy=False), TWO: host(0, 0)}, now=0)
    assert outliers.look({ONE: failed, TWO: well}, now=1) == []


def test_siblings_have_the_same_bundle_and_protocol() -> None:
    others = (Endpoint("two", 1, "b" * 64, "grpc"), Endpoint("two", 1, ONE.digest, "http"))
    outliers = Outliers()
    outliers.look({each: host(0, 0) for each in (ONE, *others)}, now=0)
    assert outliers.look({ONE: host(100, 100)} | {each: host(100, 0) for each in others}, now=1) == []
