"""A hold-out counts the models that it has judged: each once, from every workspace, and no more than a person allows."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from contract.errors import ConfigurationError, ModelRejectedError
from pipelines.machine import looks
from pipelines.machine.looks import Look


@pytest.fixture(autouse=True)
def var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's own directory."""
    monkeypatch.setenv("BULKHEAD_VAR", str(tmp_path / "var"))
    return tmp_path / "var"


def test_same_model_is_one_look_and_another_hold_out_starts_anew() -> None:
    assert [looks.record(Look("h", model), "approved") for model in "aabab"] == [1, 1, 2, 2, 2]
    assert looks.record(Look("other", "a"), "rejected") == 1
    assert (looks.count("h"), looks.count("unknown")) == (2, 0)


def _record(model: int) -> int:
    return looks.record(Look("h", str(model % 10)), "held")


def test_looks_of_many_processes_are_all_counted() -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        list(pool.map(_record, range(40)))
    assert looks.count("h") == 10


def test_more_looks_than_allowed_are_refused_with_what_to_do() -> None:
    looks.check(20, 20, 27_000)
    with pytest.raises(ModelRejectedError, match=r"has judged 21 models, and gates.looks allows 20.*gates.looks: 21"):
        looks.check(21, 20, 27_000)
    assert "publish will refuse" in looks.told(21, 20)
    assert "refuse" not in looks.told(20, 20)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"h": 3}'])
def test_damaged_ledger_is_named_and_not_overwritten(var: Path, content: bytes) -> None:
    looks.record(Look("h", "a"), "approved")
    (var / "looks/ledger.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"ledger.json is no ledger of looks"):
        looks.record(Look("h", "b"), "approved")
    assert (var / "looks/ledger.json").read_bytes() == content


def test_ledger_holds_digests_dates_and_verdicts(var: Path) -> None:
    looks.record(Look("h", "a"), "held")
    (entry,) = json.loads((var / "looks/ledger.json").read_bytes())["h"].values()
    assert entry.keys() == {"at", "verdict"}
