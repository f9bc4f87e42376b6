"""Strict JSON: UTF-8 only, no duplicate keys, no nesting beyond the parser's stack; every fault is a RequestError.

Two parsers: msgspec, five times as fast, for bodies that are certainly valid; else `json`, which can be made strict and locates a fault.
"""

from __future__ import annotations

import codecs
import json
from typing import Any

import msgspec

from contract.errors import RequestError

_read = msgspec.json.Decoder().decode
_write = msgspec.json.Encoder().encode
_ascii = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def encode(value: Any) -> bytes:
    """Return the value as compact JSON; it holds no NaN or infinity, since the predictor returns none and none is accepted."""
    try:
        return _write(value)
    except UnicodeEncodeError:  # a lone surrogate in a name that a caller sent, which msgspec cannot escape
        return _ascii(value).encode()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise RequestError("an object in the body has the same key twice")
    return value


def _refuse_constant(_: str) -> float:
    raise RequestError("NaN and Infinity are not JSON; a missing value is null")


# `/predict` lets NaN through the parser: the schema refuses it there, and its error names the row and the field.
_LENIENT = json.JSONDecoder(object_pairs_hook=_unique).decode
_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant).decode


def decode(body: bytes, *, constants: bool = False) -> dict[str, Any]:
    """Return the JSON object in `body`.

    Args:
        constants: parse the literals NaN and Infinity, for a caller that rejects them by field.

    Raises:
        RequestError: the message locates the fault and never quotes the body.
    """
    value = _undoubted(body)
    if value is None:
        value = _judged(body, _LENIENT if constants else _STRICT)
    if not isinstance(value, dict):
        raise RequestError("the body must be a JSON object")
    return value


def _undoubted(body: bytes) -> Any:
    """Return the value of JSON without escapes and duplicate keys, else None; a duplicate shows in fewer quotes when written again."""
    if b"\\" in body:
        return None
    try:
        value = _read(body)
        return value if _write(value).count(b'"') == body.count(b'"') else None
    except (ValueError, RecursionError):
        return None


def _judged(body: bytes, parse: Any) -> Any:
    if body.startswith(codecs.BOM_UTF8):  # as PowerShell and Excel write files
        raise RequestError("the body begins with a byte order mark; send UTF-8 without one")
    try:
        return parse(body.decode())
    except UnicodeDecodeError as error:
        raise RequestError(f"the body is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise RequestError("the body is nested too deeply") from None
    except ValueError:
        raise RequestError("the body holds a number with too many digits") from None
