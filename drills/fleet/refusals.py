"""The drill of bundles that must never get a request: they crash, hang, answer wrongly, are unsigned, or have one byte changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from contract.bundle import manifest, signature
from contract.files import canonical_json
from contract.store.store import Store
from drills.fleet.fleets import DrilledFleet, corrected
from drills.fleet.injections import counted, over_both
from drills.results import Result

_START_LIMIT_S = 5.0  # of the one that hangs
_APPENDED = {
    "crashes at load": ("core.py", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"),
    "hangs at load": ("protocols/grpc/server.py", "import time; time.sleep(3600)"),
    "crashes at its first request": (
        "protocols/http/predict.py",
        "import os, signal; PredictEndpoint.predict = lambda *_: os.kill(os.getpid(), signal.SIGKILL)",
    ),
}


def bad_bundles(one: DrilledFleet) -> list[Result]:
    """Deploy each of them, as the live bundle, as a canary and as a shadow; only the good one may answer."""
    bad = _put(one)
    one.serve(2)
    hurried = replace(one, start_limit_s=_START_LIMIT_S)
    codes = {}
    with over_both(one, one.first) as found:
        for what, digest in bad.items():
            for options in ([], ["--canary", "10"], ["--shadow"]):
                codes[what, *options] = hurried.run("deploy", digest, *options)[0]
    accepted = [" ".join(given) for given, code in codes.items() if not code]
    return [
        counted(29, "bad bundles", f"{len(bad)} bad bundles, each deployed, tried as a canary, and as a shadow", found),
        Result(29, "refusals", "the same", len(codes), len(accepted), f"refused; accepted: {accepted}", not accepted),
    ]


def _put(one: DrilledFleet) -> dict[str, str]:
    """Return the digests of the bad bundles by what is wrong with them."""
    number = 0

    def put(change: Callable[[Path], None], key: bytes | None) -> str:
        """Put a changed bundle into the store."""
        nonlocal number
        number += 1
        target = one.scratch / f"bad-{number}"
        shutil.copytree(one.bundle, target)
        change(target)
        return Store(str(one.store), private_key=key).put(corrected(target))

    def appended(module: str, code: str) -> Callable[[Path], None]:
        """Return a change of the bundle's code."""

        def change(bundle: Path) -> None:
            """Append the code to the module."""
            path = bundle / "src" / "bentos" / module
            path.write_text(f"{path.read_text()}\n{code}\n")

        return change

    bad = {what: put(appended(*given), one.private_key) for what, given in _APPENDED.items()}
    bad["answers wrongly"] = put(_halve_answer, one.private_key)
    bad["is unsigned"] = put(appended("core.py", "# unsigned"), None)
    bad["is signed by another key"] = put(appended("core.py", "# foreign"), signature.make_key())
    bad["has one byte changed"] = put(appended("core.py", "# spoiled"), one.private_key)
    path = one.store / "bundles" / bad["has one byte changed"] / manifest.ARTIFACT / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    return bad


def _halve_answer(bundle: Path) -> None:
    path = bundle / manifest.ARTIFACT / manifest.GOLDEN_FILE_NAME
    golden = json.loads(path.read_bytes())
    golden[0]["answer"]["probability"] /= 2
    path.write_bytes(canonical_json(golden))
