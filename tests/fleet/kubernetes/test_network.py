"""Which pod may reach which, by the NetworkPolicies of both planes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fleet.kubernetes.reach import End, reaches

SERVING = {"kubernetes.io/metadata.name": "bulkhead-serving"}
TRAINING = {"kubernetes.io/metadata.name": "bulkhead-training"}
LIVE = End("10.0.0.1", "bulkhead-serving", {"app.kubernetes.io/name": "predictor", "track": "live"}, SERVING)
CANARY = End("10.0.0.2", "bulkhead-serving", {"app.kubernetes.io/name": "predictor", "track": "canary"}, SERVING)
OTHER = End("10.0.0.3", "bulkhead-serving", {"app": "shell"}, SERVING)
TRAINER = End("10.0.0.4", "bulkhead-training", {"app": "train"}, TRAINING)
GATEWAY = End("10.0.0.5", "gateway", {}, {"kubernetes.io/metadata.name": "gateway", "bulkhead-gateway": "true"})
PROMETHEUS = End(
    "10.0.0.6", "monitoring", {}, {"kubernetes.io/metadata.name": "monitoring", "bulkhead-monitoring": "true"}
)
STRANGER = End("10.0.0.7", "shop", {"app": "shop"}, {"kubernetes.io/metadata.name": "shop"})
DNS = End("10.0.0.8", "kube-system", {"k8s-app": "kube-dns"}, {"kubernetes.io/metadata.name": "kube-system"})
API = End("10.96.0.1")
METADATA = End("169.254.169.254")
NODE = End("192.168.1.10")
INTERNET = End("93.184.216.34")
PODS = (LIVE, CANARY, OTHER, TRAINER, GATEWAY, PROMETHEUS, STRANGER, DNS)
EVERYONE = (*PODS, API, METADATA, NODE, INTERNET)
PORTS = (22, 53, 80, 443, 3000, 3001, 3002, 5432, 6443, 8080, 10250)


@pytest.fixture(scope="module")
def policies(rendered: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    found = [[each for each in objects if each["kind"] == "NetworkPolicy"] for objects in rendered.values()]
    assert found[0] == found[1] and len(found[0]) == 6
    return found[0]


def open_to(policies: list[dict[str, Any]], target: End) -> set[tuple[str, int]]:
    return {(source.address, port) for source in EVERYONE for port in PORTS if reaches(policies, source, target, port)}


def open_from(policies: list[dict[str, Any]], source: End, protocol: str = "TCP") -> set[tuple[str, int]]:
    return {
        (target.address, port)
        for target in EVERYONE
        for port in PORTS
        if reaches(policies, source, target, port, protocol)
    }


@pytest.mark.parametrize("replica", [LIVE, CANARY])
def test_only_the_gateway_and_prometheus_reach_a_replica(policies: list[dict[str, Any]], replica: End) -> None:
    wanted = {(GATEWAY.address, 3000), (GATEWAY.address, 3001), (PROMETHEUS.address, 3002)}
    assert open_to(policies, replica) == wanted


@pytest.mark.parametrize("pod", [LIVE, CANARY, OTHER])
def test_nothing_in_the_serving_plane_reaches_anything(policies: list[dict[str, Any]], pod: End) -> None:
    assert open_from(policies, pod) == open_from(policies, pod, "UDP") == set()


def test_training_reaches_names_and_what_is_outside(policies: list[dict[str, Any]]) -> None:
    assert open_from(policies, TRAINER) == {(INTERNET.address, 443), (DNS.address, 53)}
    assert open_from(policies, TRAINER, "UDP") == {(DNS.address, 53)}
    assert open_to(policies, TRAINER) == set()


def test_a_pod_without_a_policy_is_open(policies: list[dict[str, Any]]) -> None:
    assert reaches(policies, STRANGER, GATEWAY, 8080) and not reaches(policies, STRANGER, LIVE, 3000)
