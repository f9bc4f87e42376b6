"""Envoy's own error replies, in the form of the server's errors and with Retry-After."""

from __future__ import annotations

from typing import Any

_BUSY = "the fleet is overloaded; try again later"
_UNREACHABLE = "no replica is reachable; try again later"
_LATE = "no replica answered in time; try again later"
_TOO_LONG = "the body is too long"
_ITS_OWN = "%LOCAL_REPLY_BODY%"
_OVERFLOW = {"response_flag_filter": {"flags": ["UO"]}}
# Envoy's own text names its internals, and is empty while a route's cluster does not exist yet. Without a flag the reply is ours.
_FLAGGED: dict[str, Any] = {"response_flag_filter": {}}
_RESOURCE_EXHAUSTED, _UNAVAILABLE = "8", "14"


def of(protocol: str) -> dict[str, Any]:
    """Return the setting `local_reply_config` of a protocol's listener."""
    return _grpc() if protocol == "grpc" else _http()


def _http() -> dict[str, Any]:
    later = [_header("retry-after", "1")]
    # The first match wins, so the reasons stand before the statuses that several of them share.
    refusals: tuple[tuple[dict[str, Any], str, str, list[dict[str, Any]]], ...] = (
        (_OVERFLOW, "overloaded", _BUSY, later),
        (_both(_FLAGGED, _status(503)), "unavailable", _UNREACHABLE, later),
        (_status(503), "unavailable", _ITS_OWN, later),
        (_status(502), "unavailable", _UNREACHABLE, later),
        (_status(504), "deadline_exceeded", _LATE, later),
        (_status(413), "too_large", _TOO_LONG, []),
        (_status(408), "body_timeout", "the request did not arrive in time", []),
        (_status(431), "headers_too_large", "the headers are too long", []),
        (_status(400), "bad_request", "malformed HTTP request", []),
        (_status(404), "not_found", "no such path", []),
    )
    is_oip = {"header_filter": {"header": {"name": ":path", "string_match": {"prefix": "/v2"}}}}
    mappers = [
        {
            "filter": _both(refusal, is_oip) if oip else refusal,
            "headers_to_add": headers,
            "body_format_override": _error(code, message, oip=oip),
        }
        for refusal, code, message, headers in refusals
        for oip in (True, False)
    ]
    mappers.append({"filter": is_oip, "body_format_override": _error("", _ITS_OWN, oip=True)})
    return {"mappers": mappers, "body_format": _error("unavailable", _ITS_OWN, oip=False)}


def _grpc() -> dict[str, Any]:
    """Map Envoy's replies to gRPC's statuses: by gRPC's rules 503 is UNAVAILABLE, retried at once, and 413 UNKNOWN. -1: no retry."""
    refusals = (
        (_OVERFLOW, _RESOURCE_EXHAUSTED, _BUSY, "1000"),
        (_status(413), _RESOURCE_EXHAUSTED, _TOO_LONG, "-1"),
        (_both(_FLAGGED, _status(503)), _UNAVAILABLE, _UNREACHABLE, "1000"),
        (_status(504), _UNAVAILABLE, _LATE, "1000"),
    )
    return {
        "mappers": [
            {
                "filter": refusal,
                "headers_to_add": [_header("grpc-status", code), _header("grpc-retry-pushback-ms", pushback_ms)],
                "body_format_override": {"text_format_source": {"inline_string": message}},
            }
            for refusal, code, message, pushback_ms in refusals
        ]
    }


def _both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {"and_filter": {"filters": [one, other]}}


def _status(status: int) -> dict[str, Any]:
    value = {"default_value": status, "runtime_key": "bulkhead.unused"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _error(code: str, message: str, *, oip: bool) -> dict[str, Any]:
    """Return the body of an error of `/v2` or of `/predict`."""
    return {"json_format": {"error": message if oip else {"code": code, "message": message, "details": []}}}


def _header(name: str, value: str) -> dict[str, Any]:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
