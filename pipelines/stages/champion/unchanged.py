"""Whether anything that the champion depends on has changed since it was fetched.

The stage runs in every `dvc repro`, since the store's live channel may have moved. Mostly it has not, and this module says so without
the libraries that fetching and verifying a bundle needs: it imports none, and hashes a few files.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from contract.files import write_atomically
from pipelines import paths

_MARK = Path(".dvc/tmp/champion")


def since_last_time() -> str | None:
    """Return a line if nothing has changed, and `models/champion` is as it was written; None if the stage has to look."""
    mark, now = _mark(), _state()
    with suppress(FileNotFoundError):
        if mark and now and mark.read_text() == now:
            return "unchanged, and so is what is live"
    return None


def remember() -> None:
    """Record the present state, for the next process."""
    if (mark := _mark()) and (state := _state()):
        write_atomically(mark, state.encode())


def _mark() -> Path | None:
    root = os.environ.get("DVC_ROOT")
    return Path(root) / _MARK if root else None


def _state() -> str | None:
    """Return a digest of the live channel, the bundles there, the last one seen live, the model and the champion.

    None for a store in a bucket, which only its own client can ask.
    """
    location = os.environ.get("BULKHEAD_STORE") or "store"
    if "://" in location:
        return None
    store = paths.project() / location
    bundles = store / "bundles"
    digest = hashlib.sha256(f"{store.absolute()}\0".encode())
    for bundle in sorted(bundles.iterdir()) if bundles.is_dir() else ():
        digest.update(f"{bundle.name}\0".encode())
    files = [path for tree in (paths.BOOSTED, paths.CHAMPION) for path in sorted(tree.rglob("*"))]
    for path in (store / "channels/live.json", paths.var_directory() / "live-seen", *files):
        if path.is_file():
            content = path.read_bytes()
            digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
