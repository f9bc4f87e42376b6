"""`limits.json`, which the training plane writes and the serving plane reads."""

from __future__ import annotations

import json

import pytest

from contract.bundle.limits import Limits
from contract.errors import BundleError


def test_limits_have_defaults_when_the_file_lacks_them() -> None:
    limits = Limits.from_bytes(b'{"max_rows": 5, "head_timeout_s": 1}')
    assert (limits.max_rows, limits.head_timeout_s, limits.body_limit_bytes) == (5, 1, 1048576)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a valid file of limits"),
        (b"[]", "not a valid file of limits"),
        (b'{"max_row": 1}', "max_row"),
        (b'{"max_rows": 0}', "max_rows .* positive whole number"),
        (b'{"max_rows": "5"}', "max_rows"),
        (b'{"max_rows": true}', "max_rows"),
        (b'{"max_connections": 1.5}', "max_connections .* whole"),
        (b'{"head_timeout_s": -1}', "head_timeout_s .* positive number"),
        (b'{"body_timeout_s": Infinity}', "body_timeout_s"),
        (b'{"drain_s": NaN}', "drain_s"),
    ],
)
def test_limits_are_refused_by_name_when_they_make_no_sense(content: bytes, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        Limits.from_bytes(content)


def test_limits_come_back_as_they_were_written() -> None:
    limits = Limits(max_rows=7, drain_s=0.5)
    assert Limits.from_bytes(json.dumps(vars(limits)).encode()) == limits
