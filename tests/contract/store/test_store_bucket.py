"""The bundle store in a bucket of every kind of object store, over real sockets: whole bundles or none, one winner, nothing bad used."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import pytest

from contract.bundle import manifest, signature
from contract.errors import BundleError, ConfigurationError, ConflictError, UnavailableError
from contract.store.store import Store
from harness import PROJECT
from tests.contract.conftest import write_bundle

pytest.importorskip("obstore", reason="buckets are for the training plane and the fleet")
from contract.store import providers
from contract.store.providers import Bucket
from contract.store.remote import failure
from harness import object_stores
from harness.waiting import until
from tests.contract.store.movers import ROUNDS, LostAnswer, race
from tests.contract.store.services import SERVICES, Service
from tests.faults.flaky import Dice, relay

KEY = signature.make_key()
PUBLIC = signature.public_key_of(KEY)

only_amazon = pytest.mark.parametrize("service", ["s3"], indirect=True)
only_google = pytest.mark.parametrize("service", ["gs"], indirect=True)


@pytest.fixture(scope="module", params=SERVICES)
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    with SERVICES[request.param]() as service, pytest.MonkeyPatch.context() as patch:
        for name, value in service.environment.items():
            patch.setenv(name, value)
        yield service


@pytest.fixture
def bucket(service: Service) -> Bucket:
    """An empty one."""
    bucket = Bucket(service.location)
    for name in objects(bucket):
        bucket.delete(name)
    return bucket


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def store(bucket: Bucket, service: Service, cache: Path) -> Store:
    return Store(service.location, private_key=KEY, trusted=lambda: [PUBLIC], cache=cache)


@pytest.fixture
def unchecked(bucket: Bucket, service: Service, cache: Path) -> Store:
    """Of somebody who neither signs nor asks for signatures."""
    return Store(service.location, cache=cache)


def objects(bucket: Bucket) -> list[str]:
    return sorted(f"{folder}/{name}" for folder in ("bundles", "channels") for name in bucket.list(folder))


# ---- bundles ----


def test_bundle_comes_back_when_it_was_put(store: Store, bundle: Path, bucket: Bucket) -> None:
    digest = store.put(bundle)
    assert (store.path(digest) / "src" / "model.onnx").read_text() == "weights"
    assert (store.digests(), store.resolve(digest[:8])) == ([digest], digest)
    assert store.claims(digest) == manifest.read(bundle)
    names = ["bundle.sig", "manifest.json", "requirements.txt", "src/model.onnx"]
    assert objects(bucket) == [f"bundles/{digest}/{name}" for name in names]


def test_bundle_is_completed_by_another_put_and_goes_when_it_is_removed(
    store: Store, bundle: Path, bucket: Bucket
) -> None:
    digest = store.put(bundle)
    (entry,) = store.entries()
    bucket.delete(f"bundles/{digest}/src/model.onnx")
    assert store.put(bundle) == digest
    (again,) = store.entries()
    assert (again.name, again.size_bytes) == (digest, entry.size_bytes)
    assert again.size_bytes > (bundle / "manifest.json").stat().st_size
    assert again.stored_at >= entry.stored_at
    assert store.remove(digest) is True
    assert (store.digests(), store.leftovers(), objects(bucket)) == ([], [], [])


@pytest.mark.parametrize("service", ["s3", "az"], indirect=True)  # the tests' server of Google's has no such uploads
def test_large_file_comes_back_when_its_upload_has_parts(store: Store, bundle: Path) -> None:
    """5 MiB are obstore's size of a part."""
    content = Random(3).randbytes(12 << 20)
    (bundle / "src" / "large.bin").write_bytes(content)
    write_bundle(bundle)
    assert (store.path(store.put(bundle)) / "src" / "large.bin").read_bytes() == content


def test_file_comes_back_when_its_name_has_to_be_encoded(store: Store, bundle: Path) -> None:
    names = ["a b.txt", "ü.txt", "100%.txt", "%2F.txt", "a#b?.txt", "+&=.txt"]
    for name in names:
        (bundle / "src" / name).write_text(name)
    write_bundle(bundle)
    stored = store.path(store.put(bundle))
    assert [(stored / "src" / name).read_text() for name in names] == names


def test_bundle_is_refused_and_leaves_nothing_when_it_is_not_what_it_claims(
    store: Store, bundle: Path, bucket: Bucket
) -> None:
    (bundle / "src" / "model.onnx").write_text("other")
    with pytest.raises(BundleError, match="changed"):
        store.put(bundle)
    assert objects(bucket) == []


def test_bundle_is_not_there_before_its_manifest_and_a_retry_completes_it(
    store: Store, bundle: Path, bucket: Bucket
) -> None:
    digest = store.put(bundle)
    bucket.delete(f"bundles/{digest}/manifest.json")
    assert (store.digests(), [entry.name for entry in store.leftovers()]) == ([], [digest])
    for use in (store.path, store.claims, lambda value: store.move("live", value, expected=None, by="test")):
        with pytest.raises(BundleError, match="no bundle"):
            use(digest)
    assert store.put(bundle) == digest
    assert (store.digests(), store.leftovers()) == ([digest], [])


def test_upload_that_was_cut_short_is_deleted(store: Store, bundle: Path, bucket: Bucket) -> None:
    digest = store.put(bundle)
    bucket.delete(f"bundles/{digest}/manifest.json")
    store.remove_leftover(digest)
    assert objects(bucket) == []


def _content(bucket: Bucket, key: str) -> bytearray:
    state = bucket.read(key)
    assert state is not None
    return bytearray(state.content)


def _flip(bucket: Bucket, key: str) -> None:
    content = _content(bucket, key)
    content[len(content) // 2] ^= 1
    bucket.write(key, bytes(content))


CORRUPTIONS: dict[str, tuple[Callable[[Bucket, str], None], str]] = {
    "flipped": (_flip, "model.onnx"),
    "truncated": (lambda bucket, key: bucket.write(key, bytes(_content(bucket, key)[:-1])), "model.onnx"),
    "missing": (lambda bucket, key: bucket.delete(key), "model.onnx"),
    "added": (lambda bucket, key: bucket.write(f"{key}.2", b"more"), "model.onnx.2"),
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_bad_object_is_named_before_the_bundle_is_used(
    store: Store, unchecked: Store, bundle: Path, bucket: Bucket, cache: Path, corruption: str
) -> None:
    digest = store.put(bundle)
    good = store.path(digest)
    spoil, named = CORRUPTIONS[corruption]
    spoil(bucket, f"bundles/{digest}/src/model.onnx")
    for use in (store.path, unchecked.path, lambda value: store.move("live", value, expected=None, by="test")):
        with pytest.raises(BundleError, match=named):
            use(digest)
    assert store.read("live") is None
    manifest.verify(good, digest)  # the copy that may be served from is left alone
    assert [path.name for path in cache.iterdir() if path.name.startswith(".")] == []


@only_google  # no client of the tests can write such a key
@pytest.mark.parametrize("name", ["src/../../../../x", "src//x", "/x"])
def test_object_that_lies_outside_of_its_bundle_is_named(
    service: Service, store: Store, bundle: Path, bucket: Bucket, name: str
) -> None:
    digest, server = store.put(bundle), service.server
    assert server is not None
    server.store(f"bulkhead/bundles/{digest}/{name}", b"more")
    for use in (store.path, lambda value: store.move("live", value, expected=None, by="test")):
        with pytest.raises(BundleError, match=f"{digest}/{name}"):
            use(digest)
    server.stored.clear()


def test_manifest_that_was_changed_is_refused(store: Store, bundle: Path, bucket: Bucket) -> None:
    digest = store.put(bundle)
    _flip(bucket, f"bundles/{digest}/manifest.json")
    with pytest.raises(BundleError, match="digest"):
        store.claims(digest)
    with pytest.raises(BundleError, match=r"does not verify|digest"):
        store.path(digest)


def test_copy_that_is_corrupt_here_is_fetched_again(store: Store, bundle: Path) -> None:
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
    Store(store.location, private_key=signature.make_key(), cache=cache).put(bundle)
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
    assert [store.remove(digest) for digest in (a, b)] == [False, False]


def test_write_is_refused_when_the_channel_is_no_longer_what_was_read(store: Store) -> None:
    place = store.place
    assert place.swap("live", b"1", None)
    first = place.read("live")
    assert first is not None
    assert place.swap("live", b"2", first.version)
    assert not place.swap("live", b"3", first.version)
    assert not place.swap("live", b"3", None)
    assert not place.swap("never", b"3", first.version)
    assert place.read("live").content == b"2"


def test_exactly_one_wins_when_two_move_at_once(store: Store, bundle: Path, cache: Path) -> None:
    won = race(store.location, cache, store.put(bundle))
    channel = store.read("live")
    assert channel is not None
    assert sorted(won) == list(range(1, ROUNDS + 1))
    assert len(channel.history) == channel.generation == ROUNDS


class _Heedless(BaseHTTPRequestHandler):
    """An object store that knows nothing of conditions."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("ETag", '"0"')
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.mark.parametrize("version", [None, '"0"'])
def test_server_that_ignores_conditions_is_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch, cache: Path, version: str | None
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Heedless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _set(monkeypatch, service.at(server.server_port))
        with pytest.raises(ConfigurationError, match="ignores conditional writes"):
            Store(service.location, cache=cache).place.swap("live", b"{}", version)
        server.shutdown()


# ---- a bad network ----


def _set(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_move_counts_when_the_answer_to_it_got_lost(
    store: Store, bundle: Path, service: Service, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, digest = LostAnswer(), store.put(bundle)
    with relay(service.port, lost) as relayed:
        _set(monkeypatch, service.at(relayed))
        flaky = Store(service.location, cache=cache)
        lost.arm(flaky, monkeypatch)
        first = flaky.move("live", digest, expected=None, by="test")
    assert (store.read("live"), lost.faults) == (first, [])


def test_put_and_move_end_well_over_a_bad_network(
    store: Store, bundle: Path, service: Service, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice, digests = Dice(1, 2000), store.digests()  # opened by the good network
    with relay(service.port, dice) as relayed:
        _set(monkeypatch, service.at(relayed))
        flaky = Store(service.location, cache=cache)
        digest = _when_available(lambda: flaky.put(bundle))
        moved = _when_available(lambda: flaky.move("live", digest, expected=None, by="test"))
    assert (dice.thrown > 0, digests) == (True, [])
    assert store.read("live") == moved
    manifest.verify(store.place.fetch(digest, manifest.verify), digest)


def _when_available(action: Callable[[], Any]) -> Any:
    """What a clean failure asks for: try again."""
    for _ in range(9):
        with suppress(UnavailableError):
            return action()
    return action()


# ---- who may what ----


@only_amazon
def test_policies_of_the_documentation_let_each_plane_do_its_part_and_no_more(
    store: Store, bundle: Path, service: Service, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Those of docs/how-to/store.md."""

    def acting_as(user: str, **keys: bytes) -> Store:
        _set(monkeypatch, service.users[user])
        opened = Store(service.location, cache=cache, **keys)
        opened.digests()
        return opened

    training, fleet = acting_as("training", private_key=KEY), acting_as("fleet", trusted=lambda: [PUBLIC])
    digest = training.put(bundle)
    training.move("candidate", digest, expected=None, by="publish")
    for before in (None, fleet.move("live", fleet.resolve("candidate"), expected=None, by="fleet")):
        with pytest.raises((ConfigurationError, ConflictError), match=r"access denied|somebody else"):
            training.move("live", digest, expected=before, by="training")
    with pytest.raises(ConfigurationError, match=r"move the channel 'live'.* access denied"):
        training.move("live", digest, expected=fleet.read("live"), by="training")
    write_bundle(tmp_path / "other", "other")
    for refused in (lambda: fleet.put(tmp_path / "other"), lambda: fleet.remove(digest)):
        with pytest.raises(ConfigurationError, match="access denied"):
            refused()
    assert fleet.digests() == [digest]


def test_wrong_credential_is_for_a_person_to_correct(
    bucket: Bucket, service: Service, bundle: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    for wrong in service.wrong.values():
        with monkeypatch.context() as patch:
            _set(patch, wrong)
            store = Store(service.location, cache=cache)
            for use in (partial(store.put, bundle), partial(store.read, "live"), store.channels):
                with pytest.raises(ConfigurationError, match="check the credentials"):
                    use()


@pytest.mark.parametrize("host", ["169.254.169.254/latest/api/token", "metadata.google.internal/computeMetadata/v1"])
def test_machine_without_a_role_is_for_a_person_to_correct(host: str) -> None:
    from obstore.exceptions import GenericError

    error = GenericError(
        f"Error performing GET http://{host} in 9s, after 6 retries - HTTP error: error sending request"
    )
    assert "check the credentials" in str(failure(error, "the store", "reason"))


@only_amazon
def test_credential_of_a_profile_is_used_where_botocore_finds_it(
    store: Store, bundle: Path, service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path
) -> None:
    pytest.importorskip("botocore", reason="profiles are read by botocore, which S3 as a source brings along")
    keys = [f"{name.lower()} = {service.environment[name]}" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
    (tmp_path / "credentials").write_text("\n".join(["[work]", *keys]))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert Store(service.location, cache=cache).put(bundle) == manifest.digest_of(bundle)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        (
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5;EndpointSuffix=core.chinacloudapi.cn",
            "a.blob.core.chinacloudapi.cn",
        ),
        ("BlobEndpoint=https://blobs.example/;AccountName=a;SharedAccessSignature=sv=1&sig=x%3D", "blobs.example"),
    ],
)
def test_connection_string_of_azure_gives_the_address(text: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    config = Bucket("az://models/bulkhead")._objects.config
    assert config["account_name"] == "a"
    assert host in config["endpoint"]
    assert config.get("account_key", config.get("sas_key")) in {"a2V5", "sv=1&sig=x%3D"}


def test_bucket_that_is_not_there_is_for_a_person_to_correct(service: Service, bundle: Path, cache: Path) -> None:
    store = Store(f"{service.location[:5]}nowhere/prefix", cache=cache)
    for use in (lambda: store.put(bundle), lambda: store.read("live"), store.digests, lambda: store.claims("0" * 64)):
        with pytest.raises(ConfigurationError, match=r"does not exist.*correct the URL"):
            use()


def test_server_that_does_not_answer_can_be_retried(
    service: Service, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    _set(monkeypatch, service.at(1))
    with pytest.raises(UnavailableError, match="did not answer"):
        Store(service.location, cache=cache).read("live")


def test_server_that_never_answers_can_be_retried(
    service: Service, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setitem(providers._CLIENT, "read_timeout", "200ms")
    monkeypatch.setitem(providers._RETRIES, "max_retries", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        _set(monkeypatch, service.at(silent.getsockname()[1]))
        place = Store(service.location, cache=cache).place
        for use in (partial(place.read, "live"), partial(place.swap, "live", b"{}", None), place.entries):
            with pytest.raises(UnavailableError, match="did not answer"), place.explained("test"):
                use()


@only_amazon
def test_server_is_trusted_when_its_certificate_is_named(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path
) -> None:
    object_stores.make_certificate(tmp_path / "certificate.pem")
    with object_stores.files(tmp_path, tmp_path / "certificate.pem") as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{port}")
        with pytest.raises(ConfigurationError, match="certificate is not trusted"):
            Store(service.location, cache=cache).read("live")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        assert Store(service.location, cache=cache).read("live") is None


def test_local_failure_is_no_matter_of_credentials(service: Service, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"cannot put a bundle: .*file.*Not a directory; correct this path"):
        Store(service.location, cache=tmp_path / "file" / "cache").put(bundle)


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
            with pytest.raises(BundleError, match="deleted during the move"):
                unchecked.move(channel, digest, expected=before, by="test")
        assert store.read(channel) == before
    store.put(bundle)
    assert unchecked.move("live", digest, expected=None, by="test").generation == 1


# ---- killed ----


def test_killed_put_leaves_a_whole_bundle_or_none_and_a_retry_completes_it(
    store: Store, bucket: Bucket, cache: Path, tmp_path: Path
) -> None:
    # It has not come to the manifest when it is killed.
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom contract.store.store import Store\n"
        "store = Store(sys.argv[1], cache=Path(sys.argv[2])); store.digests(); print('ready', flush=True)\n"
        "write = store.place.bucket.write\n"
        "store.place.bucket.write = lambda key, content: (key.endswith('manifest.json') and time.sleep(60), write(key, content))\n"
        "store.put(Path(sys.argv[3]))\n"
    )
    random = Random(7)
    for number in range(2):
        bundle = tmp_path / f"bundle{number}"
        (bundle / "src").mkdir(parents=True)
        for name in range(20):
            (bundle / "src" / f"{name}.txt").write_text(f"{number} {name}")
        write_bundle(bundle, f"weights {number}")
        count = len(bucket.list("bundles")) + random.randrange(1, 15)
        command = [sys.executable, "-c", program, store.location, str(cache), str(bundle)]
        with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE) as putting:
            assert putting.stdout is not None
            assert putting.stdout.readline() == b"ready\n"
            until(lambda count=count: len(bucket.list("bundles")) >= count)
            putting.kill()
        for digest in store.digests():
            store.place.fetch(digest, lambda path, digest=digest: manifest.verify(path, digest))
        left = [entry.name for entry in store.leftovers()]
        assert sorted(name[0] == "." for name in left) == [False, True]  # in the bucket, and in the cache
        assert store.put(bundle) in store.digests()
        for name in left:
            store.remove_leftover(name)
        assert (store.leftovers(), store.put(bundle) in store.digests()) == ([], True)
