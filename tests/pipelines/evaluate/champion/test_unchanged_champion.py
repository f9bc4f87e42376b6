"""The champion is fetched again whenever something that it depends on has changed, and not otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import paths
from pipelines.stages.champion import unchanged

LIVE = Path("store/channels/live.json")


@pytest.fixture(autouse=True)
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("BULKHEAD_STORE", raising=False)
    monkeypatch.delenv("BULKHEAD_VAR", raising=False)
    for path in (LIVE, paths.BOOSTED / "model.onnx", paths.CHAMPION / "champion.json", Path("store/bundles/aa/x")):
        path.parent.mkdir(parents=True)
        path.write_text(path.name)
    unchanged.remember()


def test_nothing_has_changed() -> None:
    assert unchanged.since_last_time()


@pytest.mark.parametrize(
    "change",
    [
        lambda: LIVE.write_text("another"),
        LIVE.unlink,
        (paths.BOOSTED / "model.onnx").unlink,
        lambda: (paths.BOOSTED / "model.onnx").write_text("another"),
        lambda: (paths.CHAMPION / "champion.json").write_text("another"),
        (paths.CHAMPION / "champion.json").unlink,
        lambda: Path("store/bundles/bb").mkdir(),
        lambda: Path("var").mkdir() or Path("var/live-seen").write_text("aa"),
    ],
    ids=["live", "nothing live", "no model", "model", "champion", "no champion", "bundle", "seen"],
)
def test_a_change_is_noticed(change: Callable[[], object]) -> None:
    change()
    assert unchanged.since_last_time() is None


def test_a_store_in_a_bucket_is_always_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_STORE", "s3://bundles")
    unchanged.remember()
    assert unchanged.since_last_time() is None


def test_without_dvc_the_stage_always_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT")
    assert unchanged.since_last_time() is None
