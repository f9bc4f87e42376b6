"""Rules of HTTP for the head of a request that the parser does not check: RFC 9110 (semantics) and RFC 9112 (HTTP/1.1)."""

from __future__ import annotations

import re
from functools import lru_cache

from bentos.errors import UnimplementedError, UnsupportedVersionError
from bentos.protocols.http.exchange import Headers
from contract.errors import RequestError

# Of RFC 9110, section 9, and later; CONNECT is a proxy's. What the parser takes of others is known too.
_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH", b"QUERY"))
_REQUEST_LINE = re.compile(rb"^([!#$%&'*+\-.^_`|~0-9A-Za-z]+) [^ \r\n]+ HTTP/(\d)\.\d\r?$", re.MULTILINE)
# RFC 3986, section 3.2.2, without user information; nothing where the target has no authority.
_HOST = re.compile(rb"(?:\[[\w:.%~!$&'()*+,;=-]+\]|[\w.%~!$&'()*+,;=-]*)(?::\d{0,5})?", re.ASCII).fullmatch
_UPGRADES = frozenset((b"upgrade", b"http2-settings"))


@lru_cache(maxsize=64)  # callers send the same again and again
def is_sound(method: str, version: str, host: bytes | None, coding: bytes | None) -> bool:
    """Return whether `fault` finds nothing."""
    return fault(method, version, host, coding) is None


def fault(method: str, version: str, host: bytes | None, coding: bytes | None) -> RequestError | None:
    """Return what is wrong with a head that the parser lets pass and HTTP does not; None where nothing is.

    Args:
        version: as the request line has it, such as `1.1`.
        host, coding: the values of Host and Transfer-Encoding, where they are there; of several fields of one name, joined by commas.
    """
    if version[0] != "1":
        return UnsupportedVersionError()
    if method == "CONNECT":  # RFC 9110, section 15.6.2
        return UnimplementedError("the method is not known here")
    if not (version == "1.0" if host is None else _HOST(host)):  # RFC 9112, section 3.2
        return RequestError("there must be one Host, which is a host and perhaps a port")
    if coding is not None and version == "1.0":  # RFC 9112, section 6.1
        return RequestError("HTTP/1.0 has no Transfer-Encoding")
    if coding is not None and coding.lower() != b"chunked":  # RFC 9112, section 6.1
        return UnimplementedError("of transfer codings only chunked is known here")
    return None


def unparsed(data: bytes | memoryview) -> RequestError:
    """Say why the parser took no head in `data`: another method or version, or no HTTP at all."""
    for method, major_version in _REQUEST_LINE.findall(data):  # there may be good ones before it
        if major_version != b"1":
            return UnsupportedVersionError()
        if method not in _METHODS:
            return UnimplementedError("the method is not known here")
    return RequestError("this is no HTTP request that this server understands")


def without_upgrade(method: bytes, target: bytes, version: str, fields: Headers) -> bytes:
    """Return the head of a request as it would be without the wish for another protocol, which a server may ignore.

    Source: RFC 9110, section 7.8; its fields are those of the connection alone, so `Connection` names nothing else of use but `close`.
    """
    options = [option.strip().lower() for option in fields.get(b"connection", b"").split(b",")]
    kept = {name: value for name, value in fields.items() if name not in _UPGRADES}
    kept[b"connection"] = b"close" if b"close" in options else b"keep-alive"
    lines = [b"%b %b HTTP/%b" % (method, target, version.encode()), *(b"%b: %b" % pair for pair in kept.items())]
    return b"".join(b"%b\r\n" % line for line in lines) + b"\r\n"
