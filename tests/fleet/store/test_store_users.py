"""One store, two users of the system: each plane does its part, and is refused the other's by the kernel."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.bundle import signature
from contract.errors import ConfigurationError
from contract.store.store import Store
from fleet.store import users
from harness import PROJECT
from tests.contract.conftest import write_bundle

TRAINING, FLEET, ANYBODY = 51_001, 51_002, 51_003

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as two users")

# Becomes the user once all is loaded: an interpreter may lie where other users cannot read.
AS_USER = """
import os, sys, tempfile
from pathlib import Path
from contract.bundle import signature
from contract.errors import BulkheadError
from contract.store.store import Store
key = Path(sys.argv[3]).read_bytes()
with tempfile.TemporaryDirectory() as scratch:
    warm = Store(scratch, private_key=key, trusted=lambda: [signature.public_key_of(key)])
    warm.move("live", warm.put(Path(sys.argv[4])), expected=None, by="test")
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1])); os.umask(0o077)
store = Store(sys.argv[2], private_key=key, trusted=lambda: [signature.public_key_of(key)])


def refusal(action):
    try:
        action()
    except OSError as error:
        return type(error).__name__


for expression in sys.argv[5:]:
    try:
        print(eval(expression))
    except BulkheadError as error:
        print(type(error).__name__, error)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can reach."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        path.chmod(0o755)
        (path / "key").write_bytes(signature.make_key())
        for name in ("first", "second"):
            write_bundle(path / name, name)
        yield path


@pytest.fixture
def store(place: Path) -> Store:
    found = Store(str(place / "store"), private_key=(place / "key").read_bytes())
    users.share(found, users.user(str(TRAINING)), users.user(str(FLEET)))
    return found


def act(uid: int, store: Store, place: Path, *expressions: str, bundle: str = "first") -> list[str]:
    """What the expressions give, or the errors, when that user evaluates them; `bundle` is at argument 4."""
    command = [sys.executable, "-c", AS_USER, str(uid), store.location, str(place / "key"), str(place / bundle)]
    done = subprocess.run([*command, *expressions], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


PUT = "store.put(Path(sys.argv[4]))"


def move(channel: str) -> str:
    return f"store.move({channel!r}, store.digests()[0], expected=store.read({channel!r}), by='test').generation"


def test_each_user_does_its_part_and_no_more(store: Store, place: Path) -> None:
    digest, moved, refused = act(TRAINING, store, place, PUT, move("candidate"), move("live"))
    assert (store.digests(), moved) == ([digest], "1")
    denial = "ConfigurationError user 51001 has no permission to move the channel 'live': "
    assert refused.startswith(f"{denial}{place / 'store' / 'channels'}")  # while it does not exist yet
    assert store.read("live") is None
    found, moved = act(FLEET, store, place, "store.path(store.resolve('candidate')).name", move("live"))
    assert (found, moved) == (digest, "1")
    assert act(ANYBODY, store, place, "store.resolve('live')", "store.path(store.resolve('live')).name") == [digest] * 2
    found, moved, refused = act(TRAINING, store, place, "store.resolve('live')", move("candidate"), move("live"))
    assert (found, moved, refused.startswith(denial)) == (digest, "2", True)
    delete = f"store.remove({digest!r}) or store.place.remove({digest!r}, bool)"
    moved, *refusals = act(FLEET, store, place, move("live"), PUT, move("candidate"), delete, bundle="second")
    assert moved == "2"
    assert len(refusals) == 3
    assert all(line.startswith("ConfigurationError user 51002 has no permission to ") for line in refusals), refusals
    assert store.digests() == [digest]


def test_training_cannot_get_around_the_store(store: Store, place: Path) -> None:
    """With nothing but file operations."""
    store.put(place / "second")  # another publisher's
    neighbour = store.digests()[0]
    act(TRAINING, store, place, PUT)
    assert act(FLEET, store, place, move("live")) == ["1"]
    channels, bundle = place / "store" / "channels", place / "store" / "bundles" / neighbour
    attempts = (
        f"Path('{channels}/live.json').write_text('mine')",
        f"Path('{channels}/live.json').unlink()",
        f"Path('{channels}/candidate.json').rename('{channels}/live.json')",
        f"Path('{channels}/.live.lock').unlink()",
        f"Path('{channels}').rename('{channels}.mine')",
        f"Path('{bundle}/src/model.onnx').write_text('mine')",
        f"Path('{bundle}/src/model.onnx').chmod(0o666)",
        f"Path('{bundle}/more').write_text('mine')",
        f"Path('{bundle}').rename('{bundle}.mine')",
    )
    tried = [f"refusal(lambda: {attempt})" for attempt in attempts]
    assert act(TRAINING, store, place, *tried) == ["PermissionError"] * len(attempts)


def test_training_cannot_change_what_the_fleet_runs(store: Store, place: Path) -> None:
    act(TRAINING, store, place, PUT)
    (place / "fleet").mkdir()
    os.chown(place / "fleet", FLEET, FLEET)
    (copy,) = act(FLEET, store, place, f"store.copy(store.digests()[0], Path('{place}/fleet/bundles'))")
    attempts = (
        f"Path('{copy}/src/model.onnx').read_bytes()",
        f"Path('{copy}/src/model.onnx').write_text('mine')",
        f"Path('{copy}').rename('{copy}.mine')",
    )
    tried = [f"refusal(lambda: {attempt})" for attempt in attempts]
    assert act(TRAINING, store, place, *tried) == ["PermissionError"] * len(attempts)


def test_channel_stays_its_users_when_an_administrator_moves_it(store: Store, place: Path) -> None:
    digest = store.put(place / "first")
    store.move("live", digest, expected=None, by="root")
    assert act(FLEET, store, place, move("live")) == ["2"]


def test_store_that_was_used_before_can_be_shared(place: Path) -> None:
    store = Store(str(place / "store"), private_key=(place / "key").read_bytes())
    digest = store.put(place / "first")
    before = store.move("live", digest, expected=None, by="root")
    users.share(store, users.user(str(TRAINING)), users.user(str(FLEET)))
    assert store.read("live") == before
    assert act(FLEET, store, place, move("live")) == ["2"]
    assert "has no permission to move" in act(TRAINING, store, place, move("live"))[0]


def test_users_are_refused_when_they_are_one_or_nobody(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="cannot be both"):
        users.share(store, users.user("root"), users.user("0"))
    with pytest.raises(ConfigurationError, match="no user 'nobody-here'"):
        users.user("nobody-here")
