"""A bundle's clusters of replicas in Envoy's configuration: health, outliers, limits, and the live replicas behind a canary's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fleet.configuration.state import State, socket_of

PROTOCOLS = ("http", "grpc")
# Concurrent requests of one replica, and requests that wait in Envoy for any of them: half of what a fleet allows, since it has two Envoys.
# Envoy rejects the rest at a fraction of what a rejection costs a replica. By Little's law twice so many requests of one row are 30 ms of a
# replica's work, and of 64 rows 300 ms, within the latency budget. Of slower requests a replica rejects most itself, by predicted time
# (bentos/guards/admission.py).
_AT_ONCE = 64
_WAITING = 64
_UNLIMITED = 10_000
_LIMITS = {
    "max_connections": _UNLIMITED,
    "max_pending_requests": _WAITING,
    "max_requests": _UNLIMITED,
    "max_retries": _UNLIMITED,
}
OR_LIVE = "-or-live"
_MOST_OF_CONTROL = 50  # percent; with more, nothing is left for the other live replicas
_STREAMS = 64  # per gRPC connection; a replica takes 128
TYPES = "type.googleapis.com/envoy"
# Of a replica: the header and its value.
FAILURES = {"http": (":status", "500"), "grpc": ("grpc-status", "13")}
TRY = "x-bulkhead-try"


def cluster_name(protocol: str, digest: str) -> str:
    """Return a cluster's name, such as `http-3f2a…`; `protocol` is `http` or `grpc`."""
    return f"{protocol}-{digest[:16]}"


def endpoints(protocol: str, digest: str, state: State, root: Path) -> dict[str, Any]:
    """Return the endpoints of a cluster: the bundle's replicas, those that drain marked."""
    weights = _shares(state) if digest == state.live else {}
    return {
        "@type": f"{TYPES}.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster_name(protocol, digest),
        "endpoints": [
            {
                "lb_endpoints": [
                    {
                        "endpoint": {"address": {"pipe": {"path": socket_of(protocol, replica.name, root)}}},
                        "health_status": "DRAINING" if replica.name in state.draining else "HEALTHY",
                        **({"load_balancing_weight": weights[replica.name]} if weights else {}),
                    }
                    for replica in state.of(digest)
                ]
            }
        ],
    }


def _shares(state: State) -> dict[str, int]:
    """Return the live replicas' weights where some are a canary's control: each of those gets as many requests as one of the canary."""
    control = {replica.name for replica in state.control}
    others = len(state.of(str(state.live))) - len(control)
    if not control or not others or state.canary is None or state.canary.percent >= _MOST_OF_CONTROL:
        return {}
    share = state.canary.percent
    of_control, of_other = share * others, (100 - 2 * share) * len(control)
    return {entry.name: of_control if entry.name in control else of_other for entry in state.of(str(state.live))}


def of(protocol: str, digest: str, directory: Path) -> dict[str, Any]:
    """Return the cluster of a bundle; `directory` holds the files that Envoy watches."""
    name = cluster_name(protocol, digest)
    check: dict[str, Any] = (
        {"grpc_health_check": {}} if protocol == "grpc" else {"http_health_check": {"path": "/readyz"}}
    )
    return {
        "@type": f"{TYPES}.config.cluster.v3.Cluster",
        "name": name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": file(directory / "eds" / f"{name}.json")},
        "connect_timeout": "0.5s",
        "lb_policy": "LEAST_REQUEST",
        "typed_extension_protocol_options": _http_options(
            protocol, outlier_detection={"error_matcher": _is_failure(protocol)}
        ),
        "health_checks": [
            {
                # A frozen replica leaves the rotation within 2 seconds; one that recovers is back within a quarter of a second.
                "timeout": "0.5s",
                "interval": "0.5s",
                "no_traffic_interval": "0.5s",
                "unhealthy_interval": "0.25s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                **check,
            }
        ],
        # A replica that fails gets no requests for a second, then is tried again.
        "outlier_detection": {
            "interval": "0.5s",
            "base_ejection_time": "1s",
            "max_ejection_time": "1s",
            "max_ejection_percent": 100,
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 2,
        },
        "circuit_breakers": {
            "thresholds": [_LIMITS],
            # Connections are Envoy's only limit per host: one request each over HTTP/1.1, `_STREAMS` over gRPC.
            "per_host_thresholds": [{"max_connections": _AT_ONCE // _STREAMS if protocol == "grpc" else _AT_ONCE}],
        },
        # With no healthy replica left, trying all beats rejecting all; with one left, it alone is asked.
        # A change of a replica's health takes effect at once, not a second later.
        "common_lb_config": {"healthy_panic_threshold": {"value": 1}, "update_merge_window": "0s"},
        # Otherwise a removed replica gets requests until its health checks fail.
        "ignore_health_on_host_removal": True,
    }


def or_live(protocol: str, digest: str, state: State) -> dict[str, Any]:
    """Return a cluster of a bundle's replicas with the live ones behind them."""
    names = [cluster_name(protocol, digest)]
    if state.live not in (None, digest) and state.of(str(state.live)):
        names.append(cluster_name(protocol, str(state.live)))
    return {
        "@type": f"{TYPES}.config.cluster.v3.Cluster",
        "name": f"{names[0]}{OR_LIVE}",
        "connect_timeout": "0.5s",
        "lb_policy": "CLUSTER_PROVIDED",  # required of aggregate clusters
        # The filters of the cluster that a route names are those that run, not those of the clusters in it.
        "typed_extension_protocol_options": _http_options(protocol),
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": {
                "@type": f"{TYPES}.extensions.clusters.aggregate.v3.ClusterConfig",
                "clusters": names,
            },
        },
        "circuit_breakers": {"thresholds": [_LIMITS]},
    }


def _http_options(protocol: str, **more: Any) -> dict[str, Any]:
    """Return a cluster's options of HTTP: the version, and the filters before each try."""
    http2 = {"http2_protocol_options": {"max_concurrent_streams": _STREAMS}}
    return {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": http2 if protocol == "grpc" else {"http_protocol_options": {}},
            "http_filters": _tries(protocol),
            **more,
        }
    }


def _tries(protocol: str) -> list[dict[str, Any]]:
    """Return the filters between Envoy and a replica: an answer gets its status and its try, such as `500-1`, for the retry policy."""
    name, _ = FAILURES[protocol]
    value = f"%RESP({name})%-%UPSTREAM_REQUEST_ATTEMPT_COUNT%"
    added = {"append": {"header": {"key": TRY, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
    filters = f"{TYPES}.extensions.filters.http"
    mutation = {"@type": f"{filters}.header_mutation.v3.HeaderMutation", "mutations": {"response_mutations": [added]}}
    return [
        {"name": "envoy.filters.http.header_mutation", "typed_config": mutation},
        {
            "name": "envoy.filters.http.upstream_codec",
            "typed_config": {"@type": f"{filters}.upstream_codec.v3.UpstreamCodec"},
        },
    ]


def _is_failure(protocol: str) -> dict[str, Any]:
    """Match the answers that count as a replica's failure: 500 and INTERNAL, not 503 and 504 of a healthy but overloaded one."""
    name, value = FAILURES[protocol]
    return {"http_response_headers_match": {"headers": [{"name": name, "string_match": {"exact": value}}]}}


def address(host: str, port: int) -> dict[str, Any]:
    """Return an address of TCP."""
    return {"socket_address": {"address": host, "port_value": port}}


def file(path: Path) -> dict[str, Any]:
    """Return a source of configuration: a file to watch."""
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}
