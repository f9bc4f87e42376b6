"""The fleet's own copies of bundles and environments, below its root, out of training's reach.

They are kept as long as a channel's history names a bundle that needs them, so a rollback to it needs neither the store's copy, nor a
network, nor `.venv/serving` as it was. Beside them lie the logs, sockets and directories of replicas, and beside the root the
environments in which training rehearses bundles, and what this machine fetched from a store in a bucket.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from contract.bundle import manifest, signature
from contract.environment import environments
from contract.errors import BundleError
from contract.files import canonical_json, private_directory, sha256, write_atomically
from contract.store.place import Entry, entries_of, listed, remove_tree
from contract.store.store import Store

_BUNDLES, _ENVIRONMENTS, _OF_TRAINING, _FETCHED = "bundles", "environments", "training", "fetched"
_SIGNATURES = "signatures"
_OF_REPLICAS = ("logs", "replicas", "run")
_ENVOY_LOG = re.compile(r"(envoy-[\d-]+)\.log").match
_ENVOYS_KEPT = 3
_REPLICA = re.compile(r"([0-9a-f]{8})-\d+(\..*)?").fullmatch  # `replicas.plan` gives the names


class Installed:
    """The copies and environments below a fleet's `root`.

    Args:
        keys: returns the public keys (PEM) that the store trusts, by which a verified signature is known again; None to verify it at
            each command.
    """

    def __init__(self, root: Path, store: Store, keys: Callable[[], Sequence[bytes]] | None = None) -> None:
        self._root, self._store, self._keys = root, store, keys
        self._verified: dict[str, Path] = {}  # by this command, which alone makes anything here
        self._folders = {name: root / name for name in (_BUNDLES, _SIGNATURES, _ENVIRONMENTS, *_OF_REPLICAS)}
        self._folders[_OF_TRAINING] = root.with_name(_ENVIRONMENTS)
        self._folders[_FETCHED] = root.with_name(_BUNDLES)

    def bundle(self, digest: str) -> Path:
        """Return the copy of a bundle, its signature and every byte verified once a command; make it, or make it anew, if need be."""
        if digest not in self._verified:
            self._verified[digest] = self._known(digest) or self._copied(digest)
        return self._verified[digest]

    def _known(self, digest: str) -> Path | None:
        """Return a copy whose bytes are intact and whose signature an earlier command verified with the same keys.

        The library that verifies signatures takes a third of a second to import, at each command and before any replica starts.
        """
        copy = self._folders[_BUNDLES] / digest
        try:
            if self._keys is None or (self._folders[_SIGNATURES] / digest).read_text() != self._evidence(copy, digest):
                return None
            manifest.verify(copy, digest)
        except (OSError, BundleError):
            return None
        return copy

    def _copied(self, digest: str) -> Path:
        copy = self._store.copy(digest, self._folders[_BUNDLES])
        if self._keys is not None:
            private_directory(self._folders[_SIGNATURES])
            write_atomically(self._folders[_SIGNATURES] / digest, self._evidence(copy, digest).encode())
        return copy

    def _evidence(self, copy: Path, digest: str) -> str:
        """Return a digest of all that the verdict on a signature depends on, but the bytes of the files, which the digest names."""
        keys = sorted(key.decode() for key in self._keys()) if self._keys else []
        claims = {"bundle": digest, "signature": sha256(copy / signature.FILE_NAME), "keys": keys}
        return hashlib.sha256(canonical_json(claims)).hexdigest()

    def python(self, digest: str) -> Path:
        """Return the interpreter of the environment of a bundle that is copied."""
        bundle = self._root / _BUNDLES / digest
        named = manifest.read(bundle).environment
        return environments.python_for(bundle / named["lock"], named["lock_sha256"], self._root / _ENVIRONMENTS)

    def clear_away(self) -> None:
        """Remove half-made copies of a killed command; safe because one command at a time makes them."""
        for folder in (_BUNDLES, _ENVIRONMENTS):
            for path in listed(self._root / folder):
                if path.name.startswith("."):
                    remove_tree(path)

    def unneeded(self, kept: Iterable[str]) -> list[Entry]:
        """Return what no bundle of these digests needs, by folder and name.

        Training's environments are in the folder `training`, bundles that were fetched from a bucket in `fetched`. Of Envoys that are
        gone the logs of the newest three are needed, since a person may ask why they ended.
        """
        digests = set(kept)
        locks = set(filter(None, map(self._lock_of, digests)))
        replicas = {digest[:8] for digest in digests}
        gone = self._logs_of_gone_envoys()

        def is_of_kept(name: str) -> bool:
            replica = _REPLICA(name)
            return name not in gone if replica is None else replica[1] in replicas

        found = [
            (_BUNDLES, digests.__contains__),
            (_SIGNATURES, digests.__contains__),
            (_FETCHED, digests.__contains__),
            *((folder, locks.__contains__) for folder in (_ENVIRONMENTS, _OF_TRAINING)),
            *((folder, is_of_kept) for folder in _OF_REPLICAS),
        ]
        return [
            replace(entry, name=f"{folder}/{entry.name}")
            for folder, is_needed in found
            for entry in entries_of(listed(self._folders[folder]))
            if not is_needed(entry.name)
        ]

    def remove(self, entries: Iterable[Entry]) -> None:
        """Delete entries of `unneeded`."""
        for entry in entries:
            folder, _, name = entry.name.partition("/")
            path = self._folders[folder] / name
            if path.is_dir():
                remove_tree(path)
            else:
                path.unlink(missing_ok=True)

    def _logs_of_gone_envoys(self) -> set[str]:
        logs = {path: found[1] for path in listed(self._root / "logs") if (found := _ENVOY_LOG(path.name))}
        newest: dict[str, float] = {}  # of each Envoy; its log has older parts, such as envoy-0.log.1
        for path, name in logs.items():
            newest[name] = max(newest.get(name, 0.0), path.stat().st_mtime)
        kept = {*sorted(newest, key=newest.__getitem__)[-_ENVOYS_KEPT:]}
        kept |= {path.stem for path in (self._root / "programs").glob("*.conf")}  # supervisord's, which still run
        return {path.name for path, name in logs.items() if name not in kept}

    def _lock_of(self, digest: str) -> str | None:
        """Return the digest of a bundle's lock, from the copy or else the store; None where both are lost, so no rollback to it."""
        with suppress(BundleError, FileNotFoundError):
            copy = self._root / _BUNDLES / digest / manifest.FILE_NAME
            return manifest.parse(copy.read_bytes(), digest).environment["lock_sha256"]
        with suppress(BundleError):
            return self._store.claims(digest).environment["lock_sha256"]
        return None
