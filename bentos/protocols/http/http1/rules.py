"""Rules for the head of a request that the parser does not check: RFC 9110 (HTTP semantics) and RFC 9112 (HTTP/1.1)."""

from __future__ import annotations

import re
from functools import lru_cache

from bentos.errors import UnimplementedError, UnsupportedVersionError
from bentos.protocols.http.exchange import Headers
from contract.errors import RequestError

# RFC 9110, section 9, and later; CONNECT is for proxies. Further methods that the parser accepts are known too.
_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH", b"QUERY"))
_REQUEST_LINE = re.compile(rb"^([!#$%&'*+\-.^_`|~0-9A-Za-z]+) [^ \r\n]+ HTTP/(\d)\.\d\r?$", re.MULTILINE)
# RFC 3986, section 3.2.2, without user information; empty if the target has no authority.
_HOST = re.compile(rb"(?:\[[\w:.%~!$&'()*+,;=-]+\]|[\w.%~!$&'()*+,;=-]*)(?::\d{0,5})?", re.ASCII).fullmatch
_UPGRADES = frozenset((b"upgrade", b"http2-settings"))


@lru_cache(maxsize=64)  # callers repeat the same values
def is_sound(method: str, version: str, host: bytes | None, coding: bytes | None) -> bool:
    """Return whether `fault` finds nothing."""
    return fault(method, version, host, coding) is None


def fault(method: str, version: str, host: bytes | None, coding: bytes | None) -> RequestError | None:
    """Return the error of a head that the parser accepts but HTTP forbids; None if it is valid.

    Args:
        version: as in the request line, such as `1.1`.
        host, coding: the values of Host and Transfer-Encoding, None if absent; repeated fields are joined by commas.
    """
    if version[0] != "1":
        return UnsupportedVersionError()
    if method == "CONNECT":  # RFC 9110, section 15.6.2
        return UnimplementedError("unsupported method")
    if not (version == "1.0" if host is None else _HOST(host)):  # RFC 9112, section 3.2
        return RequestError("exactly one Host header is required, with a host and optionally a port")
    if coding is not None and version == "1.0":  # RFC 9112, section 6.1
        return RequestError("HTTP/1.0 has no Transfer-Encoding")
    if coding is not None and coding.lower() != b"chunked":  # RFC 9112, section 6.1
        return UnimplementedError("unsupported Transfer-Encoding; only chunked is supported")
    return None


def unparsed(data: bytes | memoryview) -> RequestError:
    """Return the error of a head that the parser rejects: unsupported method or version, or malformed."""
    for method, major_version in _REQUEST_LINE.findall(data):  # valid requests may precede it
        if major_version != b"1":
            return UnsupportedVersionError()
        if method not in _METHODS:
            return UnimplementedError("unsupported method")
    return RequestError("malformed HTTP request")


def without_upgrade(method: bytes, target: bytes, version: str, fields: Headers) -> bytes:
    """Return the head of a request without its upgrade, which a server may ignore (RFC 9110, section 7.8).

    The fields of an upgrade are hop-by-hop, so of the options of `Connection` only `close` still matters.
    """
    options = [option.strip().lower() for option in fields.get(b"connection", b"").split(b",")]
    kept = {name: value for name, value in fields.items() if name not in _UPGRADES}
    kept[b"connection"] = b"close" if b"close" in options else b"keep-alive"
    lines = [b"%b %b HTTP/%b" % (method, target, version.encode()), *(b"%b: %b" % pair for pair in kept.items())]
    return b"".join(b"%b\r\n" % line for line in lines) + b"\r\n"
