"""Channels in a bucket: one winner, whoever else writes, deletes, is cut off or killed meanwhile."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import pytest

from contract.bundle import manifest
from contract.errors import BundleError, ConfigurationError, ConflictError, UnavailableError
from contract.store.providers import Bucket
from contract.store.store import Store
from harness import PROJECT
from harness.waiting import until
from tests.contract.conftest import write_bundle
from tests.contract.store.bucket.conftest import set_environment
from tests.contract.store.movers import ROUNDS, LostAnswer, race
from tests.contract.store.services import Service
from tests.faults.flaky import Dice, relay

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
        set_environment(monkeypatch, service.at(server.server_port))
        with pytest.raises(ConfigurationError, match="ignores conditional writes"):
            Store(service.location, cache=cache).place.swap("live", b"{}", version)
        server.shutdown()


# ---- a bad network ----


def test_move_counts_when_the_answer_to_it_got_lost(
    store: Store, bundle: Path, service: Service, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, digest = LostAnswer(), store.put(bundle)
    with relay(service.port, lost) as relayed:
        set_environment(monkeypatch, service.at(relayed))
        flaky = Store(service.location, cache=cache)
        lost.arm(flaky, monkeypatch)
        first = flaky.move("live", digest, expected=None, by="test")
    assert (store.read("live"), lost.faults) == (first, [])


def test_put_and_move_end_well_over_a_bad_network(
    store: Store, bundle: Path, service: Service, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice, digests = Dice(1, 2000), store.digests()  # opened by the good network
    with relay(service.port, dice) as relayed:
        set_environment(monkeypatch, service.at(relayed))
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
