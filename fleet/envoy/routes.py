"""The routes of Envoy's configuration: the weights of bundles, copies for a shadow, and what is tried again."""

from __future__ import annotations

from typing import Any

from contract.bundle.limits import Limits
from contract.prediction_log.settings import SHADOW_HEADER
from fleet.configuration.state import State
from fleet.envoy import limits
from fleet.envoy.clusters import FAILURES, OR_LIVE, TRY, TYPES, cluster_name

# For bundles that may take half a second for an answer; for slower ones more.
REQUEST_TIMEOUT_S = 10
_TRY_TIMEOUT_S = 2  # a frozen replica; a thousand rows take 50 ms
TRIES = 40
_TRIES_OF_FAILURES = 3
_INFERENCE = "/inference.GRPCInferenceService/"
_UNAVAILABLE = "no model is live: deploy one with `fleet deploy candidate`"
# A request costs a replica time only once it is complete, so a slow sender costs none.
BUFFER = "envoy.filters.http.buffer"
BUFFER_TYPE = f"{TYPES}.extensions.filters.http.buffer.v3.Buffer"


def answer_limit_s(allowed: Limits) -> float:
    """Return the seconds after which Envoy gives a request up, tries included: ten, or more for slower bundles."""
    return limits.slowness(allowed) * REQUEST_TIMEOUT_S


def of(protocol: str, state: State, allowed: Limits) -> dict[str, Any]:
    """Return the routes of a protocol: 503 where no bundle is live."""
    target: dict[str, Any]
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
            "timeout": f"{answer_limit_s(allowed):g}s",
            "retry_policy": _retry_policy(protocol, limits.slowness(allowed)),
        }
        target = {"route": route}
    else:
        target = {"direct_response": {"status": 503, "body": {"inline_string": _UNAVAILABLE}}}
    whole = _buffer(buffer={"max_request_bytes": limits.buffered_bytes(allowed)})
    # A caller's own, and the server's.
    remove = {"request_headers_to_remove": [SHADOW_HEADER], "response_headers_to_remove": [TRY]}
    routes: list[dict[str, Any]] = [{"match": {"prefix": "/"}, **remove, **target, **whole}]
    if protocol == "grpc":  # health and reflection are streams, which are never complete
        # Envoy gives a buffered request a Content-Length: gRPC ignores it, and HPACK encodes a value that changes with each request anew.
        inference = {
            **routes[0],
            "match": {"prefix": _INFERENCE},
            "request_headers_to_remove": ["content-length", SHADOW_HEADER],
        }
        routes = [inference, {**routes[0], **_buffer(disabled=True)}]
    if state.weights and state.shadow and state.of(state.shadow):
        routes = [_mirrored(routes[0], cluster_name(protocol, state.shadow), state.mirror_percent), *routes]
    return {
        "@type": f"{TYPES}.config.route.v3.RouteConfiguration",
        "name": protocol,
        "virtual_hosts": [{"name": protocol, "domains": ["*"], "routes": routes}],
    }


def _buffer(**how: Any) -> dict[str, Any]:
    """Return the settings of a route's buffer."""
    return {"typed_per_filter_config": {BUFFER: {"@type": f"{BUFFER_TYPE}PerRoute", **how}}}


def _mirrored(route: dict[str, Any], cluster: str, percent: int) -> dict[str, Any]:
    """Return the route of those requests that are mirrored, by which they and their copies get a name; the others take the next one.

    Of the mirror policy's own fraction nobody would know which requests it took.
    """
    # Envoy draws a request's number once, for this and for the weights. Of percents and weights that both divide it by 100, the same
    # requests come first: the live bundle would get all that are mirrored, and the canary none.
    fraction = {"numerator": percent * 100, "denominator": "TEN_THOUSAND"}
    named = {"key": SHADOW_HEADER, "value": "%UNIQUE_ID%"}
    return {
        **route,
        "match": {**route["match"], "runtime_fraction": {"default_value": fraction}},
        # Without the suffix that Envoy gives a copy's Host. A copy that finds the shadow busy is dropped; the caller never waits.
        "route": {
            **route["route"],
            "request_mirror_policies": [{"cluster": cluster, "disable_shadow_host_suffix_append": True}],
        },
        # In place of a caller's own.
        "request_headers_to_add": [{"header": named, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
        "request_headers_to_remove": [each for each in route["request_headers_to_remove"] if each != SHADOW_HEADER],
    }


def _retry_policy(protocol: str, slowness: float) -> dict[str, Any]:
    """Return the retry policy: a failed request goes to another replica, which is safe since a prediction changes nothing."""
    unavailable = ",unavailable" if protocol == "grpc" else ""
    tries = "|".join(f"{FAILURES[protocol][1]}-{number}" for number in range(1, _TRIES_OF_FAILURES))
    return {
        "retry_on": f"connect-failure,refused-stream,reset,retriable-headers{unavailable}",
        # A server answers no valid request with 500, so another replica may be in order; 503 and 504 are its answers to overload. What
        # several replicas fail is the request: more tries would eject all of them.
        "retriable_headers": [{"name": TRY, "string_match": {"safe_regex": {"regex": tries}}}],
        # With pauses, for about as long as the route allows: on a busy machine a killed replica needs seconds to be back.
        "num_retries": TRIES,
        "per_try_timeout": f"{slowness * _TRY_TIMEOUT_S:g}s",
        "retry_back_off": {"base_interval": "0.01s", "max_interval": "0.5s"},
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": f"{TYPES}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
                },
            }
        ],
        "host_selection_retry_max_attempts": "10",
        "retry_priority": {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {
                "@type": f"{TYPES}.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                "update_frequency": 1,
            },
        },
    }
