"""The bundle store: immutable bundles, channels moved by compare-and-swap, also by processes at the same time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contract import manifest
from contract.errors import BundleError, ConfigurationError, ConflictError
from contract.store import Store
from tests.contract.conftest import write_bundle

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def files(store: Store) -> list[str]:
    return sorted(path.relative_to(store.root).as_posix() for path in store.root.rglob("*") if path.is_file())


def test_bundle_comes_back_when_it_was_put(store: Store, bundle: Path) -> None:
    digest = store.put(bundle)
    assert digest == manifest.digest_of(bundle)
    assert store.digests() == [digest]
    assert (store.path(digest) / "src" / "model.onnx").read_text() == "weights"


def test_nothing_changes_when_a_bundle_is_put_twice(store: Store, bundle: Path) -> None:
    first = store.put(bundle)
    before = files(store)
    assert store.put(bundle) == first
    assert files(store) == before


def test_stored_files_are_read_only(store: Store, bundle: Path) -> None:
    stored = store.path(store.put(bundle))
    assert {path.stat().st_mode & 0o222 for path in stored.rglob("*")} == {0}


def test_bundle_is_refused_and_leaves_nothing_when_it_is_not_what_it_claims(store: Store, bundle: Path) -> None:
    (bundle / "src" / "model.onnx").write_text("other")
    with pytest.raises(BundleError, match="changed"):
        store.put(bundle)
    assert store.digests() == []
    assert not store.root.exists() or files(store) == []


def test_bundle_is_refused_when_it_holds_a_link(store: Store, bundle: Path) -> None:
    (bundle / "src" / "link").symlink_to("/etc/passwd")
    with pytest.raises(BundleError, match="src/link"):
        store.put(bundle)
    assert store.digests() == []


def test_stored_bundle_is_refused_when_a_byte_was_flipped(store: Store, bundle: Path) -> None:
    digest = store.put(bundle)
    path = store.root / "bundles" / digest / "src" / "model.onnx"
    path.chmod(0o644)
    path.write_text("veights")
    for use in (store.path, lambda value: store.move("live", value, expected=None, by="test")):
        with pytest.raises(BundleError, match="changed"):
            use(digest)
    assert store.read("live") is None


def test_torn_upload_is_not_seen(store: Store, bundle: Path) -> None:
    digest = store.put(bundle)
    torn = store.root / "bundles" / ".incoming-0123"
    shutil.copytree(bundle, torn)
    assert store.digests() == [digest]
    with pytest.raises(BundleError, match="no bundle"):
        store.path("0" * 64)


def test_upload_that_dies_midway_leaves_no_bundle(store: Store, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object, **__: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr("contract.store.shutil.copytree", die)
        with pytest.raises(OSError, match="disk full"):
            store.put(bundle)
    assert store.digests() == []
    assert store.path(store.put(bundle)).is_dir()


# ---- channels ----


def test_channel_remembers_where_it_was(store: Store, tmp_path: Path) -> None:
    write_bundle(tmp_path / "a", "a")
    write_bundle(tmp_path / "b", "b")
    a, b = store.put(tmp_path / "a"), store.put(tmp_path / "b")
    assert store.read("live") is None
    first = store.move("live", a, expected=None, by="test")
    second = store.move("live", b, expected=first, by="test")
    assert (first.generation, first.previous) == (1, None)
    assert (second.generation, second.digest, second.previous) == (2, b, a)
    assert store.read("live") == second
    assert [entry["digest"] for entry in second.history] == [a, b]
    assert store.move("live", b, expected=second, by="test").previous == a


def test_move_is_refused_when_somebody_moved_the_channel_first(store: Store, bundle: Path) -> None:
    digest = store.put(bundle)
    first = store.move("live", digest, expected=None, by="test")
    store.move("live", digest, expected=first, by="faster")
    for stale in (None, first):
        with pytest.raises(ConflictError, match="moved by somebody else"):
            store.move("live", digest, expected=stale, by="slower")
    current = store.read("live")
    assert current is not None
    assert current.generation == 2


def test_move_is_refused_when_the_bundle_is_not_there(store: Store) -> None:
    with pytest.raises(BundleError, match="no bundle"):
        store.move("live", "0" * 64, expected=None, by="test")


def test_exactly_one_wins_when_many_move_at_once(store: Store, bundle: Path) -> None:
    digest = store.put(bundle)
    program = (
        "import sys\nfrom contract.errors import ConflictError\nfrom contract.store import Store\n"
        "store = Store(sys.argv[1]); print('ready', flush=True); sys.stdin.readline()\n"
        "try: store.move('live', sys.argv[2], expected=None, by=sys.argv[3]); print('won')\n"
        "except ConflictError: print('lost')\n"
    )
    movers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(store.root), digest, str(index)],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for index in range(6)
    ]
    for mover in movers:
        assert mover.stdout is not None
        assert mover.stdout.readline() == "ready\n"
    for mover in movers:
        assert mover.stdin is not None
        mover.stdin.write("go\n")
        mover.stdin.flush()
    results = [mover.communicate(timeout=30)[0].strip() for mover in movers]
    assert sorted(results) == ["lost"] * 5 + ["won"]
    current = store.read("live")
    assert current is not None
    assert (current.generation, current.history[0]["by"]) == (1, str(results.index("won")))


def test_reference_is_a_channel_or_the_beginning_of_a_digest(store: Store, bundle: Path) -> None:
    digest = store.put(bundle)
    store.move("candidate", digest, expected=None, by="test")
    assert store.resolve("candidate") == store.resolve(digest) == store.resolve(digest[:8]) == digest
    with pytest.raises(BundleError, match="0 bundles"):
        store.resolve("0" * 8)
    with pytest.raises(BundleError, match="no channel"):
        store.resolve("live")


@pytest.mark.parametrize("name", ["", "Live", "../live", "a/b", ".lock", "-live", "x" * 50])
def test_channel_is_refused_when_its_name_is_none(store: Store, name: str) -> None:
    with pytest.raises(ConfigurationError, match="channel name"):
        store.read(name)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"generation": 1}'])
def test_channel_is_refused_when_its_file_is_broken(store: Store, content: str) -> None:
    path = store.root / "channels" / "live.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(BundleError, match="not a channel"):
        store.read("live")


def test_location_may_be_a_file_url_and_nothing_else_yet(tmp_path: Path) -> None:
    assert Store(f"file://{tmp_path}").root == Store(str(tmp_path)).root == tmp_path
    with pytest.raises(ConfigurationError, match="s3://"):
        Store("s3://bucket/prefix")
