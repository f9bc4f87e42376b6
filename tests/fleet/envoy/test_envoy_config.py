"""What Envoy is told. That Envoy accepts it, and does it, is shown by test_fleet.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from contract.bundle.limits import Limits
from contract.prediction_log.settings import SHADOW_HEADER
from fleet.configuration.settings import Settings
from fleet.configuration.state import Canary, Replica, State
from fleet.envoy import clusters, config, limits

SETTINGS = Settings(store="store", verify_keys=tuple, root=Path("/var/fleet"), http_port=8080, grpc_port=8081)
OLD, NEW = "a" * 64, "b" * 64
REPLICAS = (Replica("old-0", OLD, 8100), Replica("new-0", NEW, 8101))
DEFAULT = Limits()
STATE = State(size=1, live=OLD, canary=Canary(NEW, 10), replicas=REPLICAS)


def resources(state: State, allowed: Limits = DEFAULT) -> dict[str, list[dict[str, Any]]]:
    return {name: entry["resources"] for name, entry in config.resources(SETTINGS, state, allowed).items()}


def addresses(value: Any) -> Iterator[str | tuple[str, int]]:
    """Every path, and every host and port, in a configuration."""
    if isinstance(value, dict):
        if "socket_address" in value:
            yield value["socket_address"]["address"], value["socket_address"]["port_value"]
        if "pipe" in value:
            yield value["pipe"]["path"]
        for entry in value.values():
            yield from addresses(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from addresses(entry)


def test_callers_come_in_on_the_loopback_interface_and_replicas_have_private_sockets() -> None:
    found = set(addresses(resources(STATE)))
    sockets = {f"/var/fleet/run/{name}.{protocol}" for name in ("old-0", "new-0") for protocol in ("http", "grpc")}
    assert found == {("127.0.0.1", 8080), ("127.0.0.1", 8081), *sockets}


def test_admin_interface_is_a_private_unix_socket() -> None:
    bootstrap = config.bootstrap(SETTINGS, Path("/var/fleet/envoy.sock"))
    assert bootstrap["admin"] == {"address": {"pipe": {"path": "/var/fleet/envoy.sock", "mode": 0o600}}}
    assert list(addresses(bootstrap)) == ["/var/fleet/envoy.sock"]


def test_bundle_has_a_cluster_for_each_protocol_with_its_replicas() -> None:
    files = resources(STATE)
    assert [cluster["name"] for cluster in files["cds.json"] if "eds_cluster_config" in cluster] == [
        f"{protocol}-{digest[:16]}" for digest in (OLD, NEW) for protocol in ("http", "grpc")
    ]
    assert list(addresses(files[f"eds/grpc-{NEW[:16]}.json"])) == ["/var/fleet/run/new-0.grpc"]


def test_requests_are_shared_by_weight() -> None:
    (route,) = resources(STATE)["rds-http.json"][0]["virtual_hosts"][0]["routes"]
    shares = {entry["name"]: entry["weight"] for entry in route["route"]["weighted_clusters"]["clusters"]}
    assert shares == {f"http-{OLD[:16]}": 90, f"http-{NEW[:16]}-or-live": 10}


def test_shares_are_drawn_by_the_callers_key_and_the_sum_of_weights_is_constant_when_it_is_asked_for() -> None:
    for percent in (1, 50, 99):
        state = replace(STATE, sticky="header", canary=Canary(NEW, percent))
        (route,) = resources(state)["rds-http.json"][0]["virtual_hosts"][0]["routes"]
        weighted = route["route"]["weighted_clusters"]
        assert weighted["use_hash_policy"] is True
        # In this order, and with this sum, a caller of the canary stays its caller when the share grows.
        assert [entry["weight"] for entry in weighted["clusters"]] == [100 - percent, percent]


def test_requests_of_a_canary_have_the_live_replicas_behind_its_own() -> None:
    clusters = {entry["name"]: entry for entry in resources(STATE)["cds.json"]}
    behind = clusters[f"http-{NEW[:16]}-or-live"]["cluster_type"]["typed_config"]["clusters"]
    assert behind == [f"http-{NEW[:16]}", f"http-{OLD[:16]}"]


def test_shadow_gets_copies_and_a_name_for_each_that_no_caller_can_choose() -> None:
    shadow = "c" * 64
    state = replace(STATE, shadow=shadow, mirror_percent=30, replicas=(*REPLICAS, Replica("shadow-0", shadow, 8102)))
    for protocol in ("http", "grpc"):
        route, *others = resources(state)[f"rds-{protocol}.json"][0]["virtual_hosts"][0]["routes"]
        (mirror,) = route["route"]["request_mirror_policies"]
        assert route["match"].pop("runtime_fraction") == {
            "default_value": {"numerator": 3000, "denominator": "TEN_THOUSAND"}
        }
        assert route["match"] == others[0]["match"]
        assert mirror["cluster"] == f"{protocol}-{shadow[:16]}"
        (named,) = route["request_headers_to_add"]
        assert named["header"]["key"] == SHADOW_HEADER
        assert named["append_action"] == "OVERWRITE_IF_EXISTS_OR_ADD"
        without = resources(STATE)[f"rds-{protocol}.json"][0]["virtual_hosts"][0]["routes"]
        assert all(SHADOW_HEADER in each["request_headers_to_remove"] for each in without)
        assert not any("request_mirror_policies" in each["route"] for each in without)
        assert others == without


def test_requests_are_refused_with_a_reason_when_nothing_is_live() -> None:
    (route,) = resources(State())["rds-http.json"][0]["virtual_hosts"][0]["routes"]
    assert route["direct_response"]["status"] == 503
    assert "fleet deploy" in route["direct_response"]["body"]["inline_string"]


def test_replica_is_given_no_more_at_once_than_it_can_answer_in_time() -> None:
    for cluster in resources(STATE)["cds.json"]:
        if "cluster_type" in cluster:  # it has no replicas of its own
            continue
        (at_once,) = (entry["max_connections"] for entry in cluster["circuit_breakers"]["per_host_thresholds"])
        options = cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
        http2 = options["explicit_http_config"].get("http2_protocol_options")
        assert at_once * (http2["max_concurrent_streams"] if http2 else 1) == 64
        assert cluster["circuit_breakers"]["thresholds"][0]["max_pending_requests"] == 64


def test_refusals_are_neither_tried_again_nor_held_against_a_replica() -> None:
    files = resources(STATE)
    for protocol, failure in (("http", "500"), ("grpc", "13")):
        for route in files[f"rds-{protocol}.json"][0]["virtual_hosts"][0]["routes"]:
            policy = route["route"]["retry_policy"]
            retried = set(policy["retry_on"].split(","))
            assert not retried & {"5xx", "gateway-error", "resource-exhausted"}
            assert not retried & {"deadline-exceeded", "retriable-status-codes", "internal"}
            (header,) = policy["retriable_headers"]
            assert header["string_match"] == {"safe_regex": {"regex": f"{failure}-1|{failure}-2"}}
            assert route["response_headers_to_remove"] == [header["name"]]
        (cluster, *_) = [entry for entry in files["cds.json"] if entry["name"].startswith(protocol)]
        options = cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
        (header,) = options["outlier_detection"]["error_matcher"]["http_response_headers_match"]["headers"]
        assert header["string_match"] == {"exact": failure}


def test_every_cluster_that_a_route_may_name_marks_the_tries() -> None:
    """A canary's, too, which stands before the live one's: the filters of the cluster in the route run, not those behind it."""
    for cluster in resources(STATE)["cds.json"]:
        options = cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
        assert [entry["name"].split(".")[-1] for entry in options["http_filters"]] == [
            "header_mutation",
            "upstream_codec",
        ]


def test_only_calls_that_are_one_message_are_waited_for() -> None:
    files = resources(STATE)
    inference, other = files["rds-grpc.json"][0]["virtual_hosts"][0]["routes"]
    assert inference["match"] == {"prefix": "/inference.GRPCInferenceService/"}
    assert "disabled" not in inference["typed_per_filter_config"]["envoy.filters.http.buffer"]
    assert other["typed_per_filter_config"]["envoy.filters.http.buffer"]["disabled"] is True


def test_what_the_bundles_allow_is_let_through() -> None:
    files = resources(STATE, Limits(
        body_limit_bytes=8 << 20, latency_budget_s=2.0, body_timeout_s=60.0, head_timeout_s=9.0, head_limit_bytes=1 << 20,
        head_limit_count=300,
    ))  # fmt: skip
    for protocol in ("http", "grpc"):
        route = files[f"rds-{protocol}.json"][0]["virtual_hosts"][0]["routes"][0]
        assert route["typed_per_filter_config"]["envoy.filters.http.buffer"]["buffer"]["max_request_bytes"] >= 8 << 20
        assert (route["route"]["timeout"], route["route"]["retry_policy"]["per_try_timeout"]) == ("40s", "8s")
    for listener, count in zip(files["lds.json"], (300, 65536), strict=True):
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        assert (manager["request_headers_timeout"], manager["request_timeout"]) == ("9s", "90s")
        assert manager["stream_idle_timeout"] == "90s"
        assert manager["max_request_headers_kb"] == 2048
        assert manager["common_http_protocol_options"]["max_headers_count"] == count


def test_stream_without_an_answer_outlasts_the_request() -> None:
    for allowed, idle in (
        (DEFAULT, "15s"),
        (Limits(latency_budget_s=5.0), "105s"),
        (Limits(latency_budget_s=3599.0), "205s"),
    ):
        for listener in resources(STATE, allowed)["lds.json"]:
            assert listener["filter_chains"][0]["filters"][0]["typed_config"]["stream_idle_timeout"] == idle


def test_limits_beyond_envoys_numbers_are_its_largest() -> None:
    files = resources(STATE, Limits(body_limit_bytes=1 << 40, head_limit_count=1 << 40, head_limit_bytes=1 << 40))
    for protocol in ("http", "grpc"):
        for route in files[f"rds-{protocol}.json"][0]["virtual_hosts"][0]["routes"]:
            buffer = route["typed_per_filter_config"]["envoy.filters.http.buffer"]
            assert buffer.get("buffer", {}).get("max_request_bytes", 2**32 - 1) == 2**32 - 1
    for listener in files["lds.json"]:
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        assert manager["common_http_protocol_options"]["max_headers_count"] == 2**32 - 1
        assert manager["max_request_headers_kb"] == 8192


def test_limits_are_the_largest_of_the_bundles_and_the_defaults(tmp_path: Path) -> None:
    for name, content in (("one", '{"max_rows": 7, "drain_s": 9.0}'), ("two", '{"max_rows": 5000}'), ("bad", "{")):
        (tmp_path / name / "src" / "bundle").mkdir(parents=True)
        (tmp_path / name / "src" / "bundle" / "limits.json").write_text(content)
    found = limits.of_bundles(tmp_path / name for name in ("one", "two", "bad", "none"))
    assert found == Limits(max_rows=5000, drain_s=9.0)
    assert limits.of_bundles([tmp_path / "one"]) == Limits(drain_s=9.0)


def test_draining_replica_stays_an_endpoint_that_gets_no_new_request() -> None:
    draining = State(live=OLD, replicas=REPLICAS, draining=frozenset({"old-0"}))
    (endpoint,) = resources(draining)[f"eds/http-{OLD[:16]}.json"][0]["endpoints"][0]["lb_endpoints"]
    assert endpoint["health_status"] == "DRAINING"


def test_version_changes_only_when_the_content_does() -> None:
    one, same = config.resources(SETTINGS, STATE, DEFAULT), config.resources(SETTINGS, STATE, DEFAULT)
    other = config.resources(SETTINGS, State(live=OLD, replicas=REPLICAS), DEFAULT)
    assert json.dumps(one) == json.dumps(same)
    assert {name for name in one if one[name]["version_info"] != other[name]["version_info"]} == {
        "rds-http.json",
        "rds-grpc.json",
    }


def test_control_of_a_judged_canary_gets_as_many_requests_as_the_canary() -> None:
    replicas = (*(Replica(f"old-{slot}", OLD, 8100 + slot) for slot in range(3)), Replica("new-0", NEW, 8104))
    state = State(size=2, live=OLD, canary=Canary(NEW, 5, "auto"), replicas=replicas)

    def weights(of: State) -> list[int | None]:
        (endpoints,) = resources(of)[f"eds/{clusters.cluster_name('http', OLD)}.json"]
        return [each.get("load_balancing_weight") for each in endpoints["endpoints"][0]["lb_endpoints"]]

    *others, control = [weight or 0 for weight in weights(state)]
    # The live bundle gets 95 % of the requests.
    assert 95 * control / (sum(others) + control) == 5
    assert others[0] == others[1]
    assert weights(replace(state, canary=Canary(NEW, 5))) == [None] * 3
    assert weights(replace(state, canary=Canary(NEW, 60, "auto"))) == [None] * 3
