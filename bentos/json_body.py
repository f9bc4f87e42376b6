"""Strict JSON: UTF-8 only, no duplicate keys, no nesting beyond what the parser's stack holds; every fault is a RequestError."""

from __future__ import annotations

import json
from typing import Any

from contract.errors import RequestError

# The encoder in C that `json.JSONEncoder.encode` makes anew for each value, made once: that is half of what a small answer costs.
# Arguments: no check for cycles, what to do with other types, strings, no indent, separators, unsorted keys, no keys skipped, no NaN.
_chunks = json.encoder.c_make_encoder(  # type: ignore[attr-defined]  # not in typeshed
    None, json.JSONEncoder().default, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, False
)


def encode(value: Any) -> str:
    """The value as JSON: compact, and ASCII, so that no lone surrogate of a caller can break the encoding.

    Raises:
        ValueError: NaN or infinity is in it, which never gets out.
    """
    return "".join(_chunks(value, 0))


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
    """The JSON object in `body`.

    Args:
        constants: whether the literals NaN and Infinity are parsed, for a caller that refuses them by field.

    Raises:
        RequestError: saying where, never quoting what.
    """
    try:
        value = (_LENIENT if constants else _STRICT)(body.decode())
    except UnicodeDecodeError as error:
        raise RequestError(f"the body is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise RequestError("the body is nested too deeply") from None
    except ValueError:
        raise RequestError("the body holds a number with too many digits") from None
    if not isinstance(value, dict):
        raise RequestError("the body must be a JSON object")
    return value
