"""The bundle store: immutable bundles, channels moved by compare-and-swap, also by processes at the same time."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from contract.bundle import manifest, signature
from contract.errors import BundleError, ConfigurationError, ConflictError
from contract.store.store import Store
from harness import PROJECT
from tests.contract.conftest import write_bundle


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def files(store: Store) -> list[str]:
    return sorted(
        path.relative_to(store.location).as_posix() for path in Path(store.location).rglob("*") if path.is_file()
    )


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


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The trees of bundles that were hashed."""
    trees: list[Path] = []
    digests = manifest.tree_digests
    monkeypatch.setattr(manifest, "tree_digests", lambda root: trees.append(root) or digests(root))
    return trees


def test_bundle_is_verified_once_on_its_way_into_the_store_and_once_on_its_way_out(
    store: Store, bundle: Path, tmp_path: Path, hashed: list[Path]
) -> None:
    digest = store.put(bundle)
    store.move("candidate", digest, expected=None, by="test")
    assert len(hashed) == 1
    hashed.clear()
    fleet = Store(store.location)
    fleet.copy(digest, tmp_path / "copies")
    fleet.move("live", digest, expected=None, by="test")
    assert len(hashed) == 1
    hashed.clear()
    Store(store.location).move("other", digest, expected=None, by="test")  # who has not verified it does
    assert len(hashed) == 1


def test_bundle_that_is_signed_by_nobody_trusted_is_verified_before_a_channel_names_it(
    bundle: Path, tmp_path: Path
) -> None:
    pytest.importorskip("cryptography", reason="serving neither signs nor verifies: it runs what was verified")
    key, other = signature.make_key(), signature.make_key()
    store = Store(str(tmp_path / "store"), private_key=key, trusted=lambda: [signature.public_key_of(other)])
    digest = store.put(bundle)
    with pytest.raises(BundleError, match="does not verify"):
        store.move("candidate", digest, expected=None, by="test")


def test_stored_files_are_read_only(store: Store, bundle: Path) -> None:
    stored = store.path(store.put(bundle))
    assert {path.stat().st_mode & 0o222 for path in stored.rglob("*")} == {0}


def test_bundle_is_refused_and_leaves_nothing_when_it_is_not_what_it_claims(store: Store, bundle: Path) -> None:
    (bundle / "src" / "model.onnx").write_text("other")
    with pytest.raises(BundleError, match="changed"):
        store.put(bundle)
    assert store.digests() == []
    assert not Path(store.location).exists() or files(store) == []


def test_bundle_is_refused_when_it_holds_a_link(store: Store, bundle: Path) -> None:
    (bundle / "src" / "link").symlink_to("/etc/passwd")
    with pytest.raises(BundleError, match="src/link"):
        store.put(bundle)
    assert store.digests() == []


def test_stored_bundle_is_refused_when_a_byte_was_flipped(store: Store, bundle: Path) -> None:
    digest = store.put(bundle)
    path = Path(store.location) / "bundles" / digest / "src" / "model.onnx"
    path.chmod(0o644)
    path.write_text("veights")
    store = Store(store.location)  # of who has not verified it
    for use in (store.path, lambda value: store.move("live", value, expected=None, by="test")):
        with pytest.raises(BundleError, match="changed"):
            use(digest)
    assert store.read("live") is None


def test_copy_is_this_users_alone_and_stays_whole_when_the_stored_bundle_is_changed(
    store: Store, bundle: Path, tmp_path: Path
) -> None:
    digest = store.put(bundle)
    copy = store.copy(digest, tmp_path / "copies")
    assert {path.stat().st_mode & 0o777 for path in (copy, *copy.rglob("*"))} == {0o400, 0o500}
    stored = Path(store.location) / "bundles" / digest / "src" / "model.onnx"
    stored.chmod(0o644)
    stored.write_text("veights")
    assert store.copy(digest, tmp_path / "copies") == copy
    assert (copy / "src" / "model.onnx").read_text() == "weights"
    with pytest.raises(BundleError, match="changed"):
        store.copy(digest, tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


def test_copy_is_made_anew_when_it_is_changed(store: Store, bundle: Path, tmp_path: Path) -> None:
    digest = store.put(bundle)
    model = store.copy(digest, tmp_path) / "src" / "model.onnx"
    model.chmod(0o600)
    model.write_text("veights")
    assert (store.copy(digest, tmp_path) / "src" / "model.onnx").read_text() == "weights"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_torn_upload_is_not_seen(store: Store, bundle: Path) -> None:
    digest = store.put(bundle)
    torn = Path(store.location) / "bundles" / ".incoming-0123"
    shutil.copytree(bundle, torn)
    assert store.digests() == [digest]
    with pytest.raises(BundleError, match="no bundle"):
        store.path("0" * 64)


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
        "import sys\nfrom contract.errors import ConflictError\nfrom contract.store.store import Store\n"
        "store = Store(sys.argv[1]); print('ready', flush=True); sys.stdin.readline()\n"
        "try: store.move('live', sys.argv[2], expected=None, by=sys.argv[3]); print('won')\n"
        "except ConflictError: print('lost')\n"
    )
    movers = [
        subprocess.Popen(
            [sys.executable, "-c", program, store.location, digest, str(index)],
            cwd=PROJECT,
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
    path = Path(store.location) / "channels" / "live.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(BundleError, match="not a channel"):
        store.read("live")


def test_location_is_a_directory_or_a_file_url(tmp_path: Path) -> None:
    assert Store(f"file://{tmp_path}").location == Store(str(tmp_path)).location == str(tmp_path)
    assert Store((tmp_path / "a 100% ü").as_uri()).location == str(tmp_path / "a 100% ü")


def test_location_is_refused_when_a_file_is_there(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    with pytest.raises(ConfigurationError, match="store' is a file; give a directory"):
        Store(str(tmp_path / "store"))
    with pytest.raises(ConfigurationError, match="Not a directory; correct this path"):
        Store(str(tmp_path / "store" / "below")).read("live")


@pytest.mark.parametrize(
    "location", ["sftp://host/store", "http://host/store", "memory://", "s3://", "file://store", "file://host/store"]
)
def test_location_is_refused_when_no_channel_could_be_moved_safely_there(location: str) -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"give a directory, a file:///path URL, or bucket/prefix after one of s3://, gs://, az://",
    ):
        Store(location)


def test_package_and_environment_are_named_when_the_driver_is_not_installed() -> None:
    program = (
        "import sys; sys.modules['obstore'] = None\n"
        "from contract.errors import ConfigurationError; from contract.store.store import Store\n"
        "try: Store('s3://bucket').read('live')\n"
        "except ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, text=True, capture_output=True, check=True)
    assert f"needs the package obstore, which the environment {sys.prefix} lacks" in done.stdout


# ---- deletion, beside others ----


def test_needed_is_all_that_channels_name_or_have_named(store: Store, tmp_path: Path) -> None:
    digests = []
    for name in "abc":
        write_bundle(tmp_path / name, name)
        digests.append(store.put(tmp_path / name))
    for digest in digests[:2]:
        store.move("live", digest, expected=store.read("live"), by="test")
    assert store.needed() == set(digests[:2])
    assert [store.remove(digest) for digest in digests] == [False, False, True]
    assert sorted(store.digests()) == sorted(digests[:2])
    assert store.leftovers() == []


def test_bundle_comes_back_when_a_channel_moves_to_it_while_it_is_deleted(store: Store, bundle: Path) -> None:
    digest, swap = store.put(bundle), store.place.swap

    def is_needed() -> bool:
        """Asked once the bundle is hidden."""
        is_moved.wait()
        return digest in store.needed()

    def delete_meanwhile(*arguments: Any) -> bool:
        deleting = threading.Thread(target=lambda: removed.append(store.remove(digest, is_needed)))
        deleting.start()
        while store.digests():
            time.sleep(0.01)
        done = swap(*arguments)
        is_moved.set()
        deleting.join()
        return done

    removed: list[bool] = []
    is_moved = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.place, "swap", delete_meanwhile)
        store.move("live", digest, expected=None, by="test")
    assert (removed, store.resolve("live")) == ([False], digest)
    assert store.path(digest).is_dir()


def test_move_is_undone_when_the_bundle_was_deleted_meanwhile(
    store: Store, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "b", "b")
    before, swap = store.move("live", store.put(tmp_path / "b"), expected=None, by="test"), store.place.swap

    def delete_before(*arguments: Any) -> bool:
        if bundles := set(store.digests()) - {before.digest}:
            assert store.remove(bundles.pop())
        return swap(*arguments)

    monkeypatch.setattr("contract.store.store._PATIENCE_S", 0.1)
    monkeypatch.setattr(store.place, "swap", delete_before)
    for channel, expected in (("live", before), ("other", None)):
        digest = store.put(bundle)
        with pytest.raises(BundleError, match="deleted during the move"):
            store.move(channel, digest, expected=expected, by="test")
        assert store.read(channel) == expected
    assert store.move("other", before.digest, expected=None, by="test").generation == 1
