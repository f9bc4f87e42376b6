"""The bundle store at Azure, of a real Azurite where one is installed, and at Google, of an emulator that ignores conditions."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from contract.bundle import manifest, signature
from contract.errors import BundleError, ConfigurationError, ConflictError
from contract.store.store import Store
from tests.contract.conftest import write_bundle

pytest.importorskip("adlfs", reason="these object stores are for environments that have their drivers")
pytest.importorskip("gcsfs", reason="these object stores are for environments that have their drivers")
from contract.store.bucket import Objects
from harness import object_stores
from tests.contract.store.movers import ROUNDS, LostAnswer, race
from tests.faults.flaky import relay

KEY = signature.make_key()
AZURE, GOOGLE = "az://models/bulkhead", "gs://deliveries/bulkhead"


def _environment(patch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name, value in values.items():
        patch.setenv(name, value)


@pytest.fixture(scope="module")
def azure() -> Iterator[dict[str, str]]:
    executable = shutil.which("azurite-blob")
    if executable is None:
        pytest.skip("needs azurite-blob on the PATH: npm install -g azurite")
    with object_stores.azure(executable) as environment, pytest.MonkeyPatch.context() as patch:
        _environment(patch, environment)
        import fsspec

        fsspec.filesystem("az", skip_instance_cache=True).mkdir("models")
        yield environment


@pytest.fixture(scope="module")
def google() -> Iterator[dict[str, str]]:
    with object_stores.google() as environment, pytest.MonkeyPatch.context() as patch:
        _environment(patch, environment)
        yield environment


@pytest.fixture(params=["az", "gs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty one."""
    request.getfixturevalue({"az": "azure", "gs": "google"}[request.param])
    location = {"az": AZURE, "gs": GOOGLE}[request.param]
    store = Store(location, private_key=KEY, trusted=lambda: [signature.public_key_of(KEY)], cache=tmp_path / "cache")
    system, path = _bucket(store)
    for name in system.find(path):
        system.rm_file(name)
    return store


@pytest.fixture
def azure_store(azure: dict[str, str], tmp_path: Path) -> Store:
    store = Store(AZURE, cache=tmp_path / "cache")
    system, path = _bucket(store)
    for name in system.find(path):
        system.rm_file(name)
    return store


def _bucket(store: Store) -> tuple[Any, str]:
    assert isinstance(store.place, Objects)
    return store.place._opened


# ---- bundles ----


def test_bundle_comes_back_and_goes_when_it_was_put(store: Store, bundle: Path) -> None:
    digest = store.put(bundle)
    assert (store.path(digest) / "src" / "model.onnx").read_text() == "weights"
    assert store.claims(digest) == manifest.read(bundle)
    (entry,) = store.entries()
    system, path = _bucket(store)
    system.rm_file(f"{path}/bundles/{digest}/src/model.onnx")
    assert store.put(bundle) == digest  # completed, and newer
    (again,) = store.entries()
    assert (again.name, again.size_bytes) == (digest, entry.size_bytes)
    assert again.size_bytes > (bundle / "manifest.json").stat().st_size
    assert again.stored_at >= entry.stored_at
    assert store.remove(digest) is True
    assert (store.digests(), store.leftovers(), system.find(path)) == ([], [], [])


def test_upload_is_a_leftover_when_it_was_cut_short(store: Store, bundle: Path) -> None:
    digest = store.put(bundle)
    system, path = _bucket(store)
    system.rm_file(f"{path}/bundles/{digest}/manifest.json")
    assert (store.digests(), [entry.name for entry in store.leftovers()]) == ([], [digest])
    with pytest.raises(BundleError, match="no bundle"):
        store.path(digest)
    store.remove_leftover(digest)
    assert system.find(path) == []


def test_bad_object_is_named_when_the_bundle_was_used_before(store: Store, bundle: Path) -> None:
    digest = store.put(bundle)
    good = store.path(digest)
    system, path = _bucket(store)
    system.pipe_file(f"{path}/bundles/{digest}/src/model.onnx", b"weightz")
    with pytest.raises(BundleError, match=r"model\.onnx"):
        store.path(digest)
    manifest.verify(good, digest)  # the copy that may be served from is left alone


def test_bucket_that_is_not_there_is_for_a_person_to_correct(store: Store, bundle: Path, tmp_path: Path) -> None:
    elsewhere = Store(f"{store.location[:5]}nowhere/bulkhead", cache=tmp_path)
    for use in (lambda: elsewhere.put(bundle), lambda: elsewhere.read("live"), elsewhere.digests):
        with pytest.raises(ConfigurationError, match="correct the URL"):
            use()


# ---- channels at Azure ----


def test_channel_remembers_where_it_was(azure_store: Store, bundle: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", "b")
    a, b = azure_store.put(bundle), azure_store.put(tmp_path / "b")
    first = azure_store.move("live", a, expected=None, by="test")
    second = azure_store.move("live", b, expected=first, by="test")
    assert (azure_store.read("live"), azure_store.channels(), second.previous) == (second, [second], a)
    for stale in (None, first):
        with pytest.raises(ConflictError, match="moved by somebody else"):
            azure_store.move("live", a, expected=stale, by="slower")
    assert [azure_store.remove(digest) for digest in (a, b)] == [False, False]


def test_exactly_one_wins_when_two_move_at_once(azure_store: Store, bundle: Path, tmp_path: Path) -> None:
    won = race(AZURE, tmp_path / "cache", azure_store.put(bundle))
    channel = azure_store.read("live")
    assert channel is not None
    assert sorted(won) == list(range(1, ROUNDS + 1))
    assert len(channel.history) == channel.generation == ROUNDS


def test_write_is_refused_when_the_channel_is_no_longer_what_was_read(azure_store: Store) -> None:
    place = azure_store.place
    assert place.swap("live", b"1", None)
    first = place.read("live")
    assert first is not None
    assert place.swap("live", b"2", first.version)
    assert not place.swap("live", b"3", first.version)
    assert not place.swap("live", b"3", None)
    assert not place.swap("never", b"3", first.version)
    assert place.read("live").content == b"2"  # type: ignore[union-attr]


@pytest.mark.parametrize("start_of_key", ["Eby9", "no base64"])
def test_wrong_credential_is_for_a_person_to_correct(
    azure: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, start_of_key: str
) -> None:
    account = azure["AZURE_STORAGE_CONNECTION_STRING"].replace("Eby8", start_of_key)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", account)
    store = Store(AZURE, cache=tmp_path)
    for use in (lambda: store.read("live"), store.digests):
        with pytest.raises(ConfigurationError, match="check the credentials"):
            use()


# ---- channels at Google ----


def test_server_that_ignores_conditions_is_refused(google: dict[str, str], bundle: Path, tmp_path: Path) -> None:
    store = Store(GOOGLE, cache=tmp_path / "cache")
    digest = store.put(bundle)
    for channel in (None, "read"):
        with pytest.raises(ConfigurationError, match="ignores the conditions"):
            store.move("live", digest, expected=channel and store.read("live"), by="test")


class _Generations(BaseHTTPRequestHandler):
    """One bucket as Google documents it: `ifGenerationMatch` is heeded, and a replaced generation is gone."""

    protocol_version = "HTTP/1.1"
    stored: ClassVar[dict[str, tuple[int, bytes]]] = {}
    replace_once: ClassVar[list[bytes]] = []

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_POST(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        content = self.rfile.read(int(self.headers["Content-Length"]))
        (name,), (wanted,) = query["name"], query["ifGenerationMatch"]
        generation, _ = self.stored.get(name, (0, b""))
        if int(wanted) != generation:
            return self._answer(412, b"{}")
        self.stored[name] = (generation + 7, content)
        return self._answer(200, b"{}")

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        name = parts.path.rpartition("/o/")[2].replace("%2F", "/")
        generation, content = self.stored.get(name, (0, b""))
        if parts.path.endswith("/o"):
            return self._answer(200, b"{}")
        if not generation or (parts.path.startswith("/download") and f"generation={generation}" not in parts.query):
            return self._answer(404, b"{}")
        if parts.path.startswith("/download"):
            return self._answer(200, content)
        if self.replace_once:  # between the two requests of a reader
            self.stored[name] = (generation + 7, self.replace_once.pop())
        return self._answer(200, json.dumps({"name": name, "generation": str(generation)}).encode())

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def test_generation_that_was_read_decides_when_the_server_heeds_conditions(
    google: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Generations) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        place = Objects(GOOGLE, tmp_path)
        assert place.read("live") is None
        assert place.swap("live", b"1", None)
        first = place.read("live")
        assert first is not None
        assert (first.content, place.swap("live", b"2", first.version)) == (b"1", True)
        assert not place.swap("live", b"3", first.version)
        assert not place.swap("live", b"3", None)
        _Generations.replace_once.append(b"4")
        assert place.read("live").content == b"4"  # type: ignore[union-attr]
        server.shutdown()


# ---- a bad network ----


def test_move_counts_when_the_answer_to_it_got_lost(
    azure: dict[str, str], azure_store: Store, bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lost, digest = LostAnswer(), azure_store.put(bundle)
    account = azure["AZURE_STORAGE_CONNECTION_STRING"]
    port = int(urlsplit(account.partition("BlobEndpoint=")[2]).port or 0)
    with relay(port, lost) as relayed:
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", account.replace(f":{port}/", f":{relayed}/"))
        flaky = Store(AZURE, cache=tmp_path / "cache")
        lost.arm(flaky, monkeypatch)
        first = flaky.move("live", digest, expected=None, by="test")
    assert (azure_store.read("live"), lost.faults) == (first, [])
