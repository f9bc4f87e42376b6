"""A bundle that crashes, hangs, is not signed by us, or has one byte changed gets no request: nor as the live one, nor as a canary.

Each is deployed for real, while the live bundle is asked over HTTP and gRPC all the time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from contract.bundle import manifest, signature
from contract.errors import EXIT_DATA, EXIT_RETRY
from contract.files import canonical_json
from contract.store.store import Store
from harness import processes
from harness.waiting import until
from tests.fleet.conftest import KEY, FleetCommand, changed
from tests.fleet.crowds.load import Load

COMMANDS = pytest.mark.parametrize("options", [[], ["--canary", "10"]], ids=["live", "canary"])
START_LIMIT_S = "3"  # of the one that hangs
CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
HANG = "import time; time.sleep(3600)"
CRASH_AT_REQUEST = "import os, signal; PredictEndpoint.predict = lambda *_: os.kill(os.getpid(), signal.SIGKILL)"


@dataclass(frozen=True)
class Refused:
    """Bundles in the store that must not serve, by what is wrong with them, and one that is whole and may be spoiled."""

    digests: dict[str, str]
    whole: str


def append(module: str, code: str, artifact: Path) -> None:
    with (artifact.parent / "bentos" / module).open("a") as stream:
        stream.write(f"\n{code}\n")


def raise_body_limit(by: int, artifact: Path) -> None:
    limits = json.loads((artifact / "limits.json").read_bytes())
    limits["body_limit_bytes"] += by
    (artifact / "limits.json").write_bytes(canonical_json(limits))


def spoil_answer(artifact: Path) -> None:
    golden = json.loads((artifact / manifest.GOLDEN_FILE_NAME).read_bytes())
    golden[0]["answer"]["probability"] /= 2
    (artifact / manifest.GOLDEN_FILE_NAME).write_bytes(canonical_json(golden))


@pytest.fixture(scope="module")
def refused(source: Path, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Refused:
    directory = tmp_path_factory.mktemp("refused")

    def put(name: str, change: Callable[[Path], None], key: bytes | None = KEY) -> str:
        return Store(store.location, private_key=key).put(changed(source, directory / name, change))

    digests = {
        "crashes at load": put("crash", partial(append, "core.py", CRASH)),
        "hangs at load": put("hang", partial(append, "protocols/grpc/server.py", HANG)),
        "crashes at its first request": put("request", partial(append, "protocols/http/predict.py", CRASH_AT_REQUEST)),
        "answers wrongly": put("answer", spoil_answer),
        "is unsigned": put("unsigned", partial(raise_body_limit, 1), key=None),
        "is signed by another key": put("foreign", partial(raise_body_limit, 2), key=signature.make_key()),
    }
    return Refused(digests, put("whole", partial(raise_body_limit, 3)))


@dataclass(frozen=True)
class Serving:
    """A fleet that serves its first bundle, as it was before anything was refused, and the requests that it gets all the time."""

    fleet: FleetCommand
    status: dict[str, Any]
    processes: set[int]
    load: Load

    def refuse(self, digest: str, *options: str, **variables: str) -> tuple[int, bool, str]:
        """Deploy this bundle, which must change nothing at all. The exit code, whether it was started, and the message."""
        fleet, load, answered = self.fleet, self.load, self.load.answers.total()
        done = fleet.run("deploy", digest, *options, **variables)
        until(lambda: fleet.run("status").returncode == 0, "Envoy to find all ready, where the machine has stalled")
        assert fleet("status") == self.status
        assert fleet.processes() == self.processes
        assert not [command for command in processes.commands().values() if digest in command]
        assert load.answers.total() > answered
        assert (load.failures, set(load.answers)) == ([], {fleet.bundles.first})
        verified = verifying(fleet)
        assert verified.path(verified.resolve("live")).name == fleet.bundles.first
        return done.returncode, "starting 1 " in done.stderr, json.loads(done.stdout)["error"]["message"]


@pytest.fixture(scope="module")
def serving(fleet: FleetCommand) -> Iterator[Serving]:
    """As long as this module's tests last, no request may fail, and none but the live bundle may answer."""
    status = fleet.serve(fleet.bundles.first, size=1)
    processes = fleet.processes()
    with fleet.under_load(pause_s=0.05) as load:
        yield Serving(fleet, status, processes, load)
    load.check(fleet.bundles.first)


def verifying(fleet: FleetCommand) -> Store:
    return Store(fleet.store.location, trusted=lambda: [signature.public_key_of(KEY)])


@COMMANDS
@pytest.mark.parametrize(
    ("which", "code", "reason"),
    [
        ("crashes at load", EXIT_DATA, "terminated by SIGSEGV"),
        ("hangs at load", EXIT_RETRY, f"was not ready within {START_LIMIT_S} s"),
        ("crashes at its first request", EXIT_DATA, "crashed at golden request 0"),
        ("answers wrongly", EXIT_DATA, "golden answers differ"),
        ("is unsigned", EXIT_DATA, "is not signed"),
        ("is signed by another key", EXIT_DATA, "does not verify with the key"),
    ],
)
def test_live_bundle_serves_on_when_a_bundle_is_refused_that(
    serving: Serving, refused: Refused, which: str, code: int, reason: str, options: list[str]
) -> None:
    limit = {"BULKHEAD_START_LIMIT_S": START_LIMIT_S} if "hangs" in which else {}
    found, started, message = serving.refuse(refused.digests[which], *options, **limit)
    assert (found, started, reason in message) == (code, "signed" not in which, True), message


@pytest.mark.parametrize(
    "name",
    ["src/bundle/model.onnx", "src/contract/model/encoder.py", manifest.FILE_NAME, signature.FILE_NAME],
    ids=["model", "code", "manifest", "signature"],
)
def test_live_bundle_serves_on_when_a_bundle_is_refused_with_one_byte_changed_in_its(
    serving: Serving, refused: Refused, name: str
) -> None:
    path = Path(serving.fleet.store.location, "bundles") / refused.whole / name
    right = path.read_bytes()
    path.chmod(0o644)
    try:
        path.write_bytes(with_one_byte_changed(right))
        code, started, message = serving.refuse(refused.whole)
    finally:
        path.write_bytes(right)
    assert (code, started, "does not verify with the key" in message) == (EXIT_DATA, False, True), message
    if name != signature.FILE_NAME:
        assert name in message
    verifying(serving.fleet).path(refused.whole)  # so it was this byte


def with_one_byte_changed(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
