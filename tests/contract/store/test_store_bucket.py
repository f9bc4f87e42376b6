"""The bundle store in a bucket, of a real S3-compatible server: whole bundles or none, one winner, nothing bad used."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest

from contract.bundle import manifest, signature
from contract.errors import BundleError, ConfigurationError, ConflictError, UnavailableError
from contract.store.store import Store
from docs import code_blocks
from tests.contract.conftest import write_bundle
from tests.contract.store.movers import ROUNDS, LostAnswer, race

pytest.importorskip("s3fs", reason="buckets are for the training plane and the fleet")
from contract.store.bucket import Objects
from harness import object_stores
from harness.waiting import until
from tests.faults.flaky import Dice, relay

ROOT = Path(__file__).parents[3]
KEY = signature.make_key()
URL = "s3://models/bulkhead"
PUBLIC = signature.public_key_of(KEY)


def _documented_policies() -> dict[str, dict[str, Any]]:
    """Those of docs/how-to/store.md, word for word."""
    policies = (json.loads(block.text) for block in code_blocks.blocks("docs/how-to/store.md", "json"))
    return dict(zip(("training", "fleet"), policies, strict=True))


@pytest.fixture(scope="module")
def users() -> Iterator[dict[str, dict[str, str]]]:
    with object_stores.s3_users(_documented_policies()) as environments, pytest.MonkeyPatch.context() as patch:
        for name, value in environments["collector"].items():
            patch.setenv(name, value)
        yield environments


@pytest.fixture(scope="module")
def bucket(users: dict[str, dict[str, str]]) -> Any:
    import fsspec

    system = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    system.mkdirs("models", exist_ok=True)
    return system


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def unchecked(bucket: Any, cache: Path) -> Store:
    """Of somebody who neither signs nor asks for signatures."""
    return Store(URL, cache=cache)


@pytest.fixture(scope="module")
def _store(unchecked: Store, cache: Path) -> Store:
    return Store(URL, private_key=KEY, trusted=lambda: [PUBLIC], cache=cache)


@pytest.fixture
def store(bucket: Any, _store: Store) -> Store:
    """An empty one. Opening one takes longer than a test."""
    for name in bucket.find(URL):
        bucket.rm_file(name)
    return _store


def _has_objects(store: Store, count: int) -> bool:
    return len(store.place._listing("bundles")) >= count  # type: ignore[attr-defined]


def objects(bucket: Any) -> list[str]:
    place = URL.removeprefix("s3://")
    return sorted(name.removeprefix(f"{place}/") for name in bucket.find(place))


def test_bundle_comes_back_when_it_was_put(store: Store, bundle: Path, bucket: Any) -> None:
    digest = store.put(bundle)
    assert (store.path(digest) / "src" / "model.onnx").read_text() == "weights"
    assert (store.digests(), store.resolve(digest[:8])) == ([digest], digest)
    assert store.claims(digest) == manifest.read(bundle)
    names = ["bundle.sig", "manifest.json", "requirements.txt", "src/model.onnx"]
    assert objects(bucket) == [f"bundles/{digest}/{name}" for name in names]


def test_bundle_is_refused_and_leaves_nothing_when_it_is_not_what_it_claims(
    store: Store, bundle: Path, bucket: Any
) -> None:
    (bundle / "src" / "model.onnx").write_text("other")
    with pytest.raises(BundleError, match="changed"):
        store.put(bundle)
    assert objects(bucket) == []


def test_bundle_is_not_there_before_its_manifest_and_a_retry_completes_it(
    store: Store, bundle: Path, bucket: Any
) -> None:
    digest = store.put(bundle)
    bucket.rm_file(f"{URL}/bundles/{digest}/manifest.json")
    assert (store.digests(), [entry.name for entry in store.leftovers()]) == ([], [digest])
    for use in (store.path, store.claims, lambda value: store.move("live", value, expected=None, by="test")):
        with pytest.raises(BundleError, match="no bundle"):
            use(digest)
    assert store.put(bundle) == digest
    assert (store.digests(), store.leftovers()) == ([digest], [])


def _flip(bucket: Any, path: str) -> None:
    content = bytearray(bucket.cat_file(path))
    content[len(content) // 2] ^= 1
    bucket.pipe_file(path, bytes(content))


CORRUPTIONS = {
    "flipped": (lambda bucket, path: _flip(bucket, path), "model.onnx"),
    "truncated": (lambda bucket, path: bucket.pipe_file(path, bucket.cat_file(path)[:-1]), "model.onnx"),
    "missing": (lambda bucket, path: bucket.rm_file(path), "model.onnx"),
    "added": (lambda bucket, path: bucket.pipe_file(f"{path}.2", b"more"), "model.onnx.2"),
    "outside": (lambda bucket, path: bucket.pipe_file(f"{path}/../../../../x", b"more"), r"\.\./x"),
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_bad_object_is_named_before_the_bundle_is_used(
    store: Store, unchecked: Store, bundle: Path, bucket: Any, cache: Path, corruption: str
) -> None:
    digest = store.put(bundle)
    good = store.path(digest)
    spoil, named = CORRUPTIONS[corruption]
    spoil(bucket, f"{URL}/bundles/{digest}/src/model.onnx")
    for use in (store.path, unchecked.path, lambda value: store.move("live", value, expected=None, by="test")):
        with pytest.raises(BundleError, match=named):
            use(digest)
    assert store.read("live") is None
    manifest.verify(good, digest)  # the copy that may be served from is left alone
    assert [path.name for path in cache.iterdir() if path.name.startswith(".")] == []


def test_manifest_that_was_changed_is_refused(store: Store, bundle: Path, bucket: Any) -> None:
    digest = store.put(bundle)
    _flip(bucket, f"{URL}/bundles/{digest}/manifest.json")
    with pytest.raises(BundleError, match="digest"):
        store.claims(digest)
    with pytest.raises(BundleError, match=r"does not verify|digest"):
        store.path(digest)


def test_copy_that_decayed_here_is_fetched_again(store: Store, bundle: Path) -> None:
    copy = store.path(store.put(bundle)) / "src" / "model.onnx"
    copy.chmod(0o644)
    copy.write_text("veights")
    assert (store.path(manifest.digest_of(bundle)) / "src" / "model.onnx").read_text() == "weights"


def test_signature_is_looked_at_when_it_changed(store: Store, unchecked: Store, bundle: Path, cache: Path) -> None:
    digest = unchecked.put(bundle)
    with pytest.raises(BundleError, match="not signed"):
        store.path(digest)
    store.put(bundle)
    assert store.path(digest).is_dir()
    Store(URL, private_key=signature.make_key(), cache=cache).put(bundle)
    with pytest.raises(BundleError, match="does not verify"):
        store.path(digest)


# ---- channels ----


def test_channel_remembers_where_it_was(store: Store, bundle: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", "b")
    a, b = store.put(bundle), store.put(tmp_path / "b")
    first = store.move("live", a, expected=None, by="test")
    second = store.move("live", b, expected=first, by="test")
    assert (store.read("live"), store.channels(), second.previous) == (second, [second], a)
    for stale in (None, first):
        with pytest.raises(ConflictError, match="moved by somebody else"):
            store.move("live", a, expected=stale, by="slower")
    assert (store.resolve("live"), store.needed()) == (b, {a, b})


def test_exactly_one_wins_when_many_move_at_once(store: Store, bundle: Path, cache: Path) -> None:
    won = race(URL, cache, store.put(bundle))
    channel = store.read("live")
    assert channel is not None
    assert sorted(won) == list(range(1, ROUNDS + 1))
    assert len(channel.history) == channel.generation == ROUNDS


def test_move_counts_when_the_answer_to_it_got_lost(
    store: Store, bundle: Path, users: dict[str, dict[str, str]], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, digest = LostAnswer(), store.put(bundle)
    port = int(users["collector"]["AWS_ENDPOINT_URL"].rpartition(":")[2])
    with relay(port, lost) as relayed:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relayed}")
        flaky = Store(URL, cache=cache)
        lost.arm(flaky, monkeypatch)
        first = flaky.move("live", digest, expected=None, by="test")
    assert (store.read("live"), lost.faults) == (first, [])


def test_put_and_move_end_well_over_a_bad_network(
    store: Store, bundle: Path, users: dict[str, dict[str, str]], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = Dice(1, 2000)
    port = int(users["collector"]["AWS_ENDPOINT_URL"].rpartition(":")[2])
    with relay(port, dice) as relayed:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relayed}")
        flaky = Store(URL, cache=cache)
        digest = _when_available(lambda: flaky.put(bundle))
        moved = _when_available(lambda: flaky.move("live", digest, expected=None, by="test"))
    assert dice.thrown
    assert store.read("live") == moved
    manifest.verify(store.place.fetch(digest, manifest.verify), digest)


def _when_available(action: Callable[[], Any]) -> Any:
    """What a clean failure asks for: try again."""
    for _ in range(9):
        with suppress(UnavailableError):
            return action()
    return action()


class _Heedless(BaseHTTPRequestHandler):
    """An object store that knows nothing of conditions."""

    protocol_version = "HTTP/1.1"
    stored: ClassVar[dict[str, bytes]] = {}

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_PUT(self) -> None:
        self.stored[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("ETag", '"0"')
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_server_that_ignores_conditions_is_refused(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Heedless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        place = Objects(URL, tmp_path)
        for version in (None, '"0"'):
            with pytest.raises(ConfigurationError, match="ignores the conditions"):
                place.swap("live", b"{}", version)
        server.shutdown()


# ---- who may what ----


def test_policies_of_the_documentation_let_each_plane_do_its_part_and_no_more(
    store: Store,
    bundle: Path,
    users: dict[str, dict[str, str]],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def acting_as(user: str, **keys: bytes) -> Store:
        for name, value in users[user].items():
            monkeypatch.setenv(name, value)
        opened = Store(URL, cache=cache, **keys)
        opened.digests()
        return opened

    training, fleet = acting_as("training", private_key=KEY), acting_as("fleet", trusted=lambda: [PUBLIC])
    digest = training.put(bundle)
    training.move("candidate", digest, expected=None, by="publish")
    for before in (None, fleet.move("live", fleet.resolve("candidate"), expected=None, by="fleet")):
        with pytest.raises((ConfigurationError, ConflictError), match=r"may not be used|somebody else"):
            training.move("live", digest, expected=before, by="training")
    with pytest.raises(ConfigurationError, match=r"move the channel 'live'.* may not be used so"):
        training.move("live", digest, expected=fleet.read("live"), by="training")
    write_bundle(tmp_path / "other", "other")
    for refused in (lambda: fleet.put(tmp_path / "other"), lambda: fleet.remove(digest)):
        with pytest.raises(ConfigurationError, match="may not be used"):
            refused()
    assert fleet.digests() == [digest]


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credential_is_for_a_person_to_correct(
    bucket: Any, bundle: Path, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(name, "wrong")
    store = Store(URL, cache=tmp_path)
    for use in (lambda: store.put(bundle), lambda: store.read("live"), lambda: store.resolve("live"), store.channels):
        with pytest.raises(ConfigurationError, match="check the credentials"):
            use()


def test_bucket_that_is_not_there_is_for_a_person_to_correct(bucket: Any, bundle: Path, tmp_path: Path) -> None:
    store = Store("s3://model/prefix", cache=tmp_path)
    for use in (lambda: store.put(bundle), lambda: store.read("live"), store.digests, lambda: store.claims("0" * 64)):
        with pytest.raises(ConfigurationError, match=r"bucket does not exist.*correct the URL"):
            use()


def test_server_that_does_not_answer_can_be_retried(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(UnavailableError, match="does not answer"):
        Store(URL, cache=tmp_path).read("live")


def test_local_failure_is_no_matter_of_credentials(bucket: Any, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match=r"cannot put a bundle: .*file.*Not a directory"):
        Store(URL, cache=tmp_path / "file" / "cache").put(bundle)


# ---- deletion, beside others ----


def test_bundle_comes_back_when_a_channel_moves_to_it_while_it_is_deleted(
    store: Store, unchecked: Store, bundle: Path
) -> None:
    digest = store.put(bundle)
    found_whole = threading.Event()
    moved = threading.Thread(target=unchecked.move, args=("live", digest), kwargs={"expected": None, "by": "test"})
    swap, is_hidden = unchecked.place.swap, threading.Event()

    def is_kept() -> bool:
        """Asked once the bundle is hidden: now the move goes on, and is through when the channels are read."""
        is_hidden.set()
        until(lambda: store.read("live") is not None)
        return digest in store.needed()

    def late(*arguments: Any) -> bool:
        found_whole.set()
        is_hidden.wait()
        return swap(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unchecked.place, "swap", late)
        patch.setattr("contract.store.store._PATIENCE_S", 20)  # however slow the machine is
        moved.start()
        found_whole.wait()
        assert store.remove(digest, is_kept) is False
        moved.join(20)
    assert store.resolve("live") == digest
    assert store.path(digest).is_dir()


def test_move_is_undone_when_the_bundle_was_deleted_meanwhile(
    store: Store, unchecked: Store, bundle: Path, tmp_path: Path
) -> None:
    digest = store.put(bundle)
    write_bundle(tmp_path / "b", "b")
    other = store.put(tmp_path / "b")
    swap = unchecked.place.swap

    def late(*arguments: Any) -> bool:
        if digest in store.digests():
            store.remove(digest)
        return swap(*arguments)

    for before in (None, store.move("candidate", other, expected=None, by="test")):
        channel = "live" if before is None else "candidate"
        store.put(bundle)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(unchecked.place, "swap", late)
            patch.setattr("contract.store.store._PATIENCE_S", 0.2)
            with pytest.raises(BundleError, match="deleted meanwhile"):
                unchecked.move(channel, digest, expected=before, by="test")
        assert store.read(channel) == before
    store.put(bundle)
    assert unchecked.move("live", digest, expected=None, by="test").generation == 1


# ---- killed ----


def test_killed_put_leaves_a_whole_bundle_or_none_and_a_retry_completes_it(
    store: Store, cache: Path, tmp_path: Path
) -> None:
    # It has not come to the manifest when it is killed.
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom contract.store.store import Store\n"
        "store = Store(sys.argv[1], cache=Path(sys.argv[2])); store.digests(); print('ready', flush=True)\n"
        "store.place._system.put_file = lambda *_: time.sleep(60)\n"
        "store.put(Path(sys.argv[3]))\n"
    )
    random = Random(7)
    for number in range(2):
        bundle = tmp_path / f"bundle{number}"
        (bundle / "src").mkdir(parents=True)
        for name in range(20):
            (bundle / "src" / f"{name}.txt").write_text(f"{number} {name}")
        write_bundle(bundle, f"weights {number}")
        command = [sys.executable, "-c", program, URL, str(cache), str(bundle)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as putting:
            assert putting.stdout is not None
            assert putting.stdout.readline() == b"ready\n"
            until(partial(_has_objects, store, 24 * number + random.randrange(1, 15)))
            putting.kill()
        for digest in store.digests():
            store.place.fetch(digest, lambda path, digest=digest: manifest.verify(path, digest))
        left = [entry.name for entry in store.leftovers()]
        assert sorted(name[0] == "." for name in left) == [False, True]  # in the bucket, and in the cache
        assert store.put(bundle) in store.digests()
        for name in left:
            store.remove_leftover(name)
        assert (store.leftovers(), store.put(bundle) in store.digests()) == ([], True)
