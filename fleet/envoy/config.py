"""Envoy's configuration, as pure functions of the fleet's state.

Everything but the bootstrap is dynamic: Envoy watches the files and is never restarted for a change. A bundle has two clusters,
`http-<digest>` and `grpc-<digest>`, whose endpoints are the bundle's replicas; the two routes weigh the clusters. A canary's requests go to
two more, `…-or-live`, with the live replicas as a second priority: Envoy retries only within a request's cluster, and so a canary whose
replicas crash loses no request.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/ ; the retry and health settings are those with which replacing,
scaling and kill -9 of replicas lost no request (tests/fleet).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contract.files import canonical_json
from contract.prediction_log.settings import SHADOW_HEADER
from fleet.configuration.settings import Settings
from fleet.configuration.state import State, socket_of
from fleet.envoy import replies

PROTOCOLS = ("http", "grpc")
# The server rejects bodies over its own limit (1 MiB by default); Envoy buffers a body up to this size, to be able to send it again.
_BUFFER_BYTES = 2 << 20
REQUEST_TIMEOUT_S = 10
_TRY_TIMEOUT_S = 2  # a frozen replica; a thousand rows take 50 ms
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
_HOSTS = "hosts"
_STREAMS = 64  # per gRPC connection; a replica takes 128
_TYPES = "type.googleapis.com/envoy"
# A request costs a replica time only once it is complete, so a slow sender costs none.
_BUFFER = "envoy.filters.http.buffer"
# Of a replica: the header and its value.
_FAILURES = {"http": (":status", "500"), "grpc": ("grpc-status", "13")}
_TRIES_OF_FAILURES = 3
_TRY = "x-bulkhead-try"
_BUFFER_TYPE = f"{_TYPES}.extensions.filters.http.buffer.v3.Buffer"
_INFERENCE = "/inference.GRPCInferenceService/"
_UNAVAILABLE = "no model is live: deploy one with `fleet deploy candidate`"


def bootstrap(settings: Settings, admin_socket: Path) -> dict[str, Any]:
    """Return Envoy's start configuration: its admin interface and the files to watch."""
    directory = settings.root / "envoy"
    return {
        "node": {"id": "bulkhead", "cluster": "bulkhead"},
        "admin": {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}},
        "dynamic_resources": {name: _file(directory / f"{name[:3]}.json") for name in ("lds_config", "cds_config")},
        "stats_flush_interval": "0.5s",
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{_TYPES}.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": 10000,
                    },
                }
            ]
        },
    }


def resources(settings: Settings, state: State) -> dict[str, dict[str, Any]]:
    """Return file name below `envoy/` -> discovery response, ordered so that everything exists before it is referred to."""
    directory = settings.root / "envoy"
    digests = sorted({entry.digest for entry in state.replicas})
    clusters = [(protocol, digest) for digest in digests for protocol in PROTOCOLS]
    files = {
        f"eds/{cluster_name(protocol, digest)}.json": [_endpoints(protocol, digest, state, settings.root)]
        for protocol, digest in clusters
    }
    files["cds.json"] = [_cluster(protocol, digest, directory) for protocol, digest in clusters]
    # Of every bundle, so that no cluster disappears before the route that refers to it.
    files["cds.json"] += [_or_live(protocol, digest, state) for protocol, digest in clusters]
    for protocol in PROTOCOLS:
        files[f"rds-{protocol}.json"] = [_routes(protocol, state)]
    ports = {"http": settings.http_port, "grpc": settings.grpc_port}
    files["lds.json"] = [_listener(protocol, settings.host, ports[protocol], directory) for protocol in PROTOCOLS]
    return {name: _response(content) for name, content in files.items()}


def resources_of_hosts(settings: Settings, hosts: Sequence[tuple[str, int, int]]) -> dict[str, dict[str, Any]]:
    """Return the same for an Envoy in front of the Envoys of other hosts, to which a host is what a replica is to them.

    Args:
        hosts: address, HTTP's port and gRPC's port of each.
    """
    directory = settings.root / "envoy"
    files = {}
    clusters = []
    for protocol, at in zip(PROTOCOLS, (1, 2), strict=True):
        cluster = _cluster(protocol, _HOSTS, directory)
        # Its own Envoy bounds what is at once at the replicas of a host; a host that was cut off would never end its connections.
        del cluster["circuit_breakers"]["per_host_thresholds"]
        clusters.append(cluster | {"close_connections_on_host_health_failure": True})
        endpoints = [{"endpoint": {"address": _address(host[0], int(host[at]))}} for host in hosts]
        assignment = f"{_TYPES}.config.endpoint.v3.ClusterLoadAssignment"
        files[f"eds/{cluster['name']}.json"] = [
            {"@type": assignment, "cluster_name": cluster["name"], "endpoints": [{"lb_endpoints": endpoints}]}
        ]
        files[f"rds-{protocol}.json"] = [_routes(protocol, State(live=_HOSTS))]
    ports = {"http": settings.http_port, "grpc": settings.grpc_port}
    files["cds.json"] = clusters
    files["lds.json"] = [_listener(protocol, settings.host, ports[protocol], directory) for protocol in PROTOCOLS]
    return {name: _response(content) for name, content in files.items()}


def cluster_name(protocol: str, digest: str) -> str:
    """Return a cluster's name, such as `http-3f2a…`; `protocol` is `http` or `grpc`."""
    return f"{protocol}-{digest[:16]}"


def _response(content: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a discovery response whose version is the digest of its content, so that equal content is no change."""
    version = hashlib.sha256(canonical_json(content)).hexdigest()[:16]
    return {"version_info": version, "resources": content}


def _endpoints(protocol: str, digest: str, state: State, root: Path) -> dict[str, Any]:
    weights = _shares(state) if digest == state.live else {}
    return {
        "@type": f"{_TYPES}.config.endpoint.v3.ClusterLoadAssignment",
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


def _cluster(protocol: str, digest: str, directory: Path) -> dict[str, Any]:
    name = cluster_name(protocol, digest)
    check: dict[str, Any] = (
        {"grpc_health_check": {}} if protocol == "grpc" else {"http_health_check": {"path": "/readyz"}}
    )
    return {
        "@type": f"{_TYPES}.config.cluster.v3.Cluster",
        "name": name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": _file(directory / "eds" / f"{name}.json")},
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


def _or_live(protocol: str, digest: str, state: State) -> dict[str, Any]:
    """Return a cluster of a bundle's replicas with the live ones behind them."""
    names = [cluster_name(protocol, digest)]
    if state.live not in (None, digest) and state.of(str(state.live)):
        names.append(cluster_name(protocol, str(state.live)))
    return {
        "@type": f"{_TYPES}.config.cluster.v3.Cluster",
        "name": f"{names[0]}{OR_LIVE}",
        "connect_timeout": "0.5s",
        "lb_policy": "CLUSTER_PROVIDED",  # required of aggregate clusters
        # The filters of the cluster that a route names are those that run, not those of the clusters in it.
        "typed_extension_protocol_options": _http_options(protocol),
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": {
                "@type": f"{_TYPES}.extensions.clusters.aggregate.v3.ClusterConfig",
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
            "@type": f"{_TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": http2 if protocol == "grpc" else {"http_protocol_options": {}},
            "http_filters": _tries(protocol),
            **more,
        }
    }


def _tries(protocol: str) -> list[dict[str, Any]]:
    """Return the filters between Envoy and a replica: an answer gets its status and its try, such as `500-1`, for the retry policy."""
    name, _ = _FAILURES[protocol]
    value = f"%RESP({name})%-%UPSTREAM_REQUEST_ATTEMPT_COUNT%"
    added = {"append": {"header": {"key": _TRY, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
    filters = f"{_TYPES}.extensions.filters.http"
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
    name, value = _FAILURES[protocol]
    return {"http_response_headers_match": {"headers": [{"name": name, "string_match": {"exact": value}}]}}


def _routes(protocol: str, state: State) -> dict[str, Any]:
    target: dict[str, Any]
    remove = [SHADOW_HEADER]  # a caller's own
    hidden = {"response_headers_to_remove": [_TRY]}
    if state.weights:
        weighted = [
            {"name": f"{cluster_name(protocol, digest)}{'' if digest == state.live else OR_LIVE}", "weight": percent}
            for digest, percent in state.weights.items()
        ]
        is_sticky = state.sticky == "header"
        route = {
            "weighted_clusters": {"clusters": weighted, **({"use_hash_policy": True} if is_sticky else {})},
            # Envoy takes the hash modulo the sum of the weights, which is always 100, and the live bundle comes first: a larger share of
            # the canary moves callers to it, and none away. Requests without the header are shared at random.
            **({"hash_policy": [{"header": {"header_name": "authorization"}}]} if is_sticky else {}),
            "timeout": f"{REQUEST_TIMEOUT_S}s",
            "retry_policy": _retry_policy(protocol),
        }
        target = {"route": route}
        if state.shadow and state.of(state.shadow):
            # Without the suffix that Envoy gives a copy's Host. A copy that finds the shadow busy is dropped; the caller never waits.
            mirror = {"cluster": cluster_name(protocol, state.shadow), "disable_shadow_host_suffix_append": True}
            route["request_mirror_policies"] = [mirror]
            target["request_headers_to_add"] = [_name_of_request()]
            remove = []
    else:
        target = {"direct_response": {"status": 503, "body": {"inline_string": _UNAVAILABLE}}}
    routes: list[dict[str, Any]] = [{"match": {"prefix": "/"}, "request_headers_to_remove": remove, **hidden, **target}]
    if protocol == "grpc":  # health and reflection are streams, which are never complete
        passed = {_BUFFER: {"@type": f"{_BUFFER_TYPE}PerRoute", "disabled": True}}
        # Envoy gives a buffered request a Content-Length: gRPC ignores it, and HPACK encodes a value that changes with each request anew.
        whole = {
            "match": {"prefix": _INFERENCE},
            "request_headers_to_remove": ["content-length", *remove],
            **hidden,
            **target,
        }
        routes = [whole, {**routes[0], "typed_per_filter_config": passed}]
    return {
        "@type": f"{_TYPES}.config.route.v3.RouteConfiguration",
        "name": protocol,
        "virtual_hosts": [{"name": protocol, "domains": ["*"], "routes": routes}],
    }


def _name_of_request() -> dict[str, Any]:
    """Return the header that names a request and its copy alike, in place of a caller's own."""
    header = {"key": SHADOW_HEADER, "value": "%UNIQUE_ID%"}
    return {"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _retry_policy(protocol: str) -> dict[str, Any]:
    """Return the retry policy: a failed request goes to another replica, which is safe since a prediction changes nothing."""
    unavailable = ",unavailable" if protocol == "grpc" else ""
    tries = "|".join(f"{_FAILURES[protocol][1]}-{number}" for number in range(1, _TRIES_OF_FAILURES))
    return {
        "retry_on": f"connect-failure,refused-stream,reset,retriable-headers{unavailable}",
        # A server answers no valid request with 500, so another replica may be in order; 503 and 504 are its answers to overload. What
        # several replicas fail is the request: more tries would eject all of them.
        "retriable_headers": [{"name": _TRY, "string_match": {"safe_regex": {"regex": tries}}}],
        # With pauses, as long as the first of several killed replicas needs to be back.
        "num_retries": 12,
        "per_try_timeout": f"{_TRY_TIMEOUT_S}s",
        "retry_back_off": {"base_interval": "0.01s", "max_interval": "0.5s"},
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": f"{_TYPES}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
                },
            }
        ],
        "host_selection_retry_max_attempts": "10",
        "retry_priority": {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {
                "@type": f"{_TYPES}.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                "update_frequency": 1,
            },
        },
    }


def _listener(protocol: str, host: str, port: int, directory: Path) -> dict[str, Any]:
    return {
        "@type": f"{_TYPES}.config.listener.v3.Listener",
        "name": protocol,
        "address": _address(host, port),
        "per_connection_buffer_limit_bytes": _BUFFER_BYTES,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": _connection_manager(protocol, directory),
                    }
                ]
            }
        ],
    }


def _connection_manager(protocol: str, directory: Path) -> dict[str, Any]:
    whole = {"@type": _BUFFER_TYPE, "max_request_bytes": _BUFFER_BYTES}
    router = {"@type": f"{_TYPES}.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    # nginx's `proxy_pass` and `ab` speak HTTP/1.0, whose requests need not name a host.
    http1 = {"http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "localhost"}}
    return {
        "@type": f"{_TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": protocol,
        "codec_type": "AUTO",
        "rds": {
            "route_config_name": protocol,
            "config_source": _file(directory / f"rds-{protocol}.json"),
        },
        "http_filters": [
            {"name": _BUFFER, "typed_config": whole},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ],
        "server_header_transformation": "PASS_THROUGH",
        # HPACK encodes a field that differs from request to request anew each time.
        "generate_request_id": False,
        # A slow sender does not hold a connection for long.
        "request_headers_timeout": "5s",
        "request_timeout": "15s",
        "stream_idle_timeout": "15s",
        "common_http_protocol_options": {"idle_timeout": "300s"},
        **(http1 if protocol == "http" else {}),
        "http2_protocol_options": {"max_concurrent_streams": 1000},
        "local_reply_config": replies.of(protocol),
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _file(path: Path) -> dict[str, Any]:
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}
