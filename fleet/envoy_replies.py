"""What Envoy itself answers, in the form of the server's errors, and with when to try again."""

from __future__ import annotations

from typing import Any

_BUSY = "the fleet has more to do than it can; try again later"
_TOO_LONG = "the body is too long"
_ITS_OWN = "%LOCAL_REPLY_BODY%"
_OVERFLOW = {"response_flag_filter": {"flags": ["UO"]}}
_RESOURCE_EXHAUSTED = "8"


def of(protocol: str) -> dict[str, Any]:
    """The setting `local_reply_config` of the listener of a protocol."""
    return _grpc() if protocol == "grpc" else _http()


def _http() -> dict[str, Any]:
    refusals: tuple[tuple[dict[str, Any], str, str, list[dict[str, Any]]], ...] = (
        (_OVERFLOW, "overloaded", _BUSY, [_header("retry-after", "1")]),
        (_status(503), "unavailable", _ITS_OWN, [_header("retry-after", "1")]),
        (_status(413), "too_large", _TOO_LONG, []),
    )
    is_oip = {"header_filter": {"header": {"name": ":path", "string_match": {"prefix": "/v2"}}}}
    mappers = [
        {
            "filter": {"and_filter": {"filters": [refusal, is_oip]}} if oip else refusal,
            "headers_to_add": headers,
            "body_format_override": _error(code, message, oip=oip),
        }
        for refusal, code, message, headers in refusals
        for oip in (True, False)
    ]
    mappers.append({"filter": is_oip, "body_format_override": _error("", _ITS_OWN, oip=True)})
    return {"mappers": mappers, "body_format": _error("unavailable", _ITS_OWN, oip=False)}


def _grpc() -> dict[str, Any]:
    """By gRPC's rules for HTTP statuses these would be UNAVAILABLE, which is tried again at once, and UNKNOWN. -1: not at all."""
    return {
        "mappers": [
            {
                "filter": refusal,
                "headers_to_add": [
                    _header("grpc-status", _RESOURCE_EXHAUSTED),
                    _header("grpc-retry-pushback-ms", pushback_ms),
                ],
                "body_format_override": {"text_format_source": {"inline_string": message}},
            }
            for refusal, message, pushback_ms in ((_OVERFLOW, _BUSY, "1000"), (_status(413), _TOO_LONG, "-1"))
        ]
    }


def _status(status: int) -> dict[str, Any]:
    value = {"default_value": status, "runtime_key": "bulkhead.unused"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _error(code: str, message: str, *, oip: bool) -> dict[str, Any]:
    """The body of an error of `/v2` or of `/predict`."""
    return {"json_format": {"error": message if oip else {"code": code, "message": message, "details": []}}}


def _header(name: str, value: str) -> dict[str, Any]:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
