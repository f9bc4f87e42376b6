"""The files of a bundle and their digests. Every start of a replica imports this module, so it imports next to nothing."""

from __future__ import annotations

import hashlib
import os

MANIFEST, SIGNATURE = "manifest.json", "bundle.sig"
_PART_BYTES = 1 << 16


def digests(root: str) -> dict[str, str]:
    """Return the SHA-256 of every file below `root` but the signature, by relative POSIX path.

    Raises:
        BundleError: an entry is neither a directory nor a regular file; a link could point out of the bundle.
    """
    found: dict[str, str] = {}
    pending = [("", root)]
    while pending:  # not by `rglob`, whose paths take twice as long as the hashing
        prefix, directory = pending.pop()
        with os.scandir(directory) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.append((f"{name}/", entry.path))
                elif not entry.is_file(follow_symlinks=False):
                    raise _no_file(name, root)
                elif name != SIGNATURE:
                    found[name] = _sha256(entry.path)
    return dict(sorted(found.items()))


def fingerprint(files: dict[str, str]) -> str:
    """Return one digest of all files and their names."""
    lines = (f"{digest} {name}\0" for name, digest in sorted(files.items()))
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as stream:  # noqa: PTH123  # pathlib alone takes 3 ms to import
        while part := stream.read(_PART_BYTES):
            digest.update(part)
    return digest.hexdigest()


def _no_file(name: str, root: str) -> Exception:
    from contract.errors import BundleError

    text = f"{name} in {root} is neither a regular file nor a directory, and nothing else may be in a bundle"
    return BundleError(text)
