"""What is read by the fast parser is what the strict one reads, and what the strict one refuses is refused."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from bentos.protocols import json_body
from contract.errors import RequestError

TEXTS = ("", "a", "rows", "B6", ":", '":', "\\", "é", "\u2028", "😀", "2013-12-24T17:30", " ", "null")


def made(chance: random.Random, depth: int) -> str:
    """A JSON text, with keys that are there twice, blanks and escapes among it."""
    kind = chance.randrange(8 if depth else 6)
    blank = chance.choice(("", "", " ", "\n"))
    if kind < 3:
        return blank + chance.choice(
            (
                "null",
                "true",
                "false",
                "0",
                "-0",
                "-1",
                "1.5",
                "1e-7",
                "123456789012",
                "-123456789012345678901234567890",
                "1e22",
                "-0.0",
            )
        )
    if kind < 6:
        return blank + json.dumps(chance.choice(TEXTS), ensure_ascii=chance.random() < 0.2)
    values = [made(chance, depth - 1) for _ in range(chance.randrange(4))]
    if kind == 6:
        return f"{blank}[{','.join(values)}]"
    keys = [json.dumps(chance.choice(TEXTS), ensure_ascii=False) for _ in values]
    return blank + "{" + ",".join(f"{key}{blank}:{value}" for key, value in zip(keys, values, strict=True)) + "}"


def strictly(body: bytes) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), "twice"
        return dict(pairs)

    return json.loads(body, object_pairs_hook=unique)


def test_both_parsers_read_the_same_and_refuse_a_key_twice() -> None:
    chance = random.Random(22)
    seen = {"read": 0, "twice": 0, "fast": 0}
    for _ in range(20_000):
        body = ('{"x":' + made(chance, 4) + "}").encode()
        try:
            expected = strictly(body)
        except AssertionError:
            seen["twice"] += 1
            with pytest.raises(RequestError, match="twice"):
                json_body.decode(body)
            continue
        found = json_body.decode(body)
        assert repr(found) == repr(expected)  # types and signs too
        seen["read"] += 1
        seen["fast"] += json_body._undoubted(body) is not None
    assert min(seen.values()) > 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"x"',
        b"{",
        b'{"a":1,}',
        b'{"a":01}',
        b'{"a":\xff}',
        b"\xef\xbb\xbf{}",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' + b"[" * 100_000,
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_body_that_is_no_strict_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError):
        json_body.decode(body)


def test_nan_is_parsed_for_a_caller_that_refuses_it_by_field() -> None:
    assert repr(json_body.decode(b'{"a":NaN}', constants=True)) == "{'a': nan}"


@pytest.mark.parametrize("value", [{"a": [0.1, 1e-7, 1e22, None, True, "é"]}, {"\ud800": "\ud800"}, {"a": 2**70}])
def test_answer_is_compact_json(value: Any) -> None:
    content = json_body.encode(value)
    assert json.loads(content) == value
    assert b" " not in content


def test_byte_order_mark_is_named() -> None:
    with pytest.raises(RequestError, match="byte order mark"):
        json_body.decode(b"\xef\xbb\xbf{}")
