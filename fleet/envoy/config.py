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

from contract.bundle.limits import Limits
from contract.files import canonical_json
from fleet.configuration.settings import Settings
from fleet.configuration.state import State
from fleet.envoy import clusters, limits, replies, routes
from fleet.envoy.clusters import PROTOCOLS, TYPES, address, cluster_name, file
from fleet.envoy.routes import BUFFER, BUFFER_TYPE

_HOSTS = "hosts"
_HEAD_KB = 60  # Envoy's default, less than what ends a connection to a replica
_MOST_HEAD_KB = 8192  # that Envoy takes


def bootstrap(settings: Settings, admin_socket: Path) -> dict[str, Any]:
    """Return Envoy's start configuration: its admin interface and the files to watch."""
    directory = settings.root / "envoy"
    return {
        "node": {"id": "bulkhead", "cluster": "bulkhead"},
        "admin": {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}},
        "dynamic_resources": {name: file(directory / f"{name[:3]}.json") for name in ("lds_config", "cds_config")},
        "stats_flush_interval": "0.5s",
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{TYPES}.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": 10000,
                    },
                }
            ]
        },
    }


def resources(settings: Settings, state: State, allowed: Limits) -> dict[str, dict[str, Any]]:
    """Return file name below `envoy/` -> discovery response, ordered so that everything exists before it is referred to.

    Args:
        allowed: what the bundles of the state allow, by `limits.of_bundles`.
    """
    directory = settings.root / "envoy"
    digests = sorted({entry.digest for entry in state.replicas})
    pairs = [(protocol, digest) for digest in digests for protocol in PROTOCOLS]
    files = {
        f"eds/{cluster_name(protocol, digest)}.json": [clusters.endpoints(protocol, digest, state, settings.root)]
        for protocol, digest in pairs
    }
    files["cds.json"] = [clusters.of(protocol, digest, directory) for protocol, digest in pairs]
    # Of every bundle, so that no cluster disappears before the route that refers to it.
    files["cds.json"] += [clusters.or_live(protocol, digest, state) for protocol, digest in pairs]
    for protocol in PROTOCOLS:
        files[f"rds-{protocol}.json"] = [routes.of(protocol, state, allowed)]
    files["lds.json"] = [_listener(protocol, settings, allowed) for protocol in PROTOCOLS]
    return {name: _response(content) for name, content in files.items()}


def resources_of_hosts(settings: Settings, hosts: Sequence[tuple[str, int, int]]) -> dict[str, dict[str, Any]]:
    """Return the same for an Envoy in front of the Envoys of other hosts, to which a host is what a replica is to them.

    Args:
        hosts: address, HTTP's port and gRPC's port of each.
    """
    directory, allowed = settings.root / "envoy", Limits()
    files = {}
    found = []
    for protocol, at in zip(PROTOCOLS, (1, 2), strict=True):
        cluster = clusters.of(protocol, _HOSTS, directory)
        # Its own Envoy bounds what is at once at the replicas of a host; a host that was cut off would never end its connections.
        del cluster["circuit_breakers"]["per_host_thresholds"]
        found.append(cluster | {"close_connections_on_host_health_failure": True})
        endpoints = [{"endpoint": {"address": address(host[0], int(host[at]))}} for host in hosts]
        assignment = f"{TYPES}.config.endpoint.v3.ClusterLoadAssignment"
        files[f"eds/{cluster['name']}.json"] = [
            {"@type": assignment, "cluster_name": cluster["name"], "endpoints": [{"lb_endpoints": endpoints}]}
        ]
        files[f"rds-{protocol}.json"] = [routes.of(protocol, State(live=_HOSTS), allowed)]
    files["cds.json"] = found
    files["lds.json"] = [_listener(protocol, settings, allowed) for protocol in PROTOCOLS]
    return {name: _response(content) for name, content in files.items()}


def _response(content: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a discovery response whose version is the digest of its content, so that equal content is no change."""
    version = hashlib.sha256(canonical_json(content)).hexdigest()[:16]
    return {"version_info": version, "resources": content}


def _listener(protocol: str, settings: Settings, allowed: Limits) -> dict[str, Any]:
    port = {"http": settings.http_port, "grpc": settings.grpc_port}[protocol]
    return {
        "@type": f"{TYPES}.config.listener.v3.Listener",
        "name": protocol,
        "address": address(settings.host, port),
        "per_connection_buffer_limit_bytes": limits.buffered_bytes(Limits()),  # of a body more, by its route
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": _connection_manager(protocol, settings.root / "envoy", allowed),
                    }
                ]
            }
        ],
    }


def _connection_manager(protocol: str, directory: Path, allowed: Limits) -> dict[str, Any]:
    whole = {"@type": BUFFER_TYPE, "max_request_bytes": limits.buffered_bytes(Limits())}
    router = {"@type": f"{TYPES}.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    http1 = {
        # nginx's `proxy_pass` and `ab` speak HTTP/1.0, whose requests need not name a host.
        "accept_http_10": True,
        "default_host_for_http_10": "localhost",
        # As a server does (RFC 9110, section 7.8); Envoy's own answer is 403.
        "ignore_http_11_upgrade": [{"safe_regex": {"regex": ".*"}}],
    }
    # A server counts bytes over gRPC: of so many fields it refuses a call, where Envoy would end it with INTERNAL.
    count = min(allowed.head_limit_count if protocol == "http" else allowed.head_limit_bytes // 16, limits.MOST)
    answer_s = routes.answer_limit_s(allowed)  # nothing moves on a stream while a replica works
    return {
        "@type": f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": protocol,
        "codec_type": "AUTO",
        "rds": {
            "route_config_name": protocol,
            "config_source": file(directory / f"rds-{protocol}.json"),
        },
        "http_filters": [
            {"name": BUFFER, "typed_config": whole},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ],
        "server_header_transformation": "PASS_THROUGH",
        # HPACK encodes a field that differs from request to request anew each time.
        "generate_request_id": False,
        # A slow sender does not hold a connection for long. Of a slow head the server says why; a slow body never reaches it.
        "request_headers_timeout": f"{allowed.head_timeout_s:g}s",
        "request_timeout": f"{1.5 * allowed.body_timeout_s:g}s",
        "stream_idle_timeout": f"{max(1.5 * allowed.body_timeout_s, answer_s + 5):g}s",
        "max_request_headers_kb": min(max(_HEAD_KB, 2 * allowed.head_limit_bytes >> 10), _MOST_HEAD_KB),
        "common_http_protocol_options": {"idle_timeout": "300s", "max_headers_count": count},
        **({"http_protocol_options": http1} if protocol == "http" else {}),
        "http2_protocol_options": {"max_concurrent_streams": 1000},
        "local_reply_config": replies.of(protocol),
    }
