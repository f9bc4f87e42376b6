"""API keys, the same over both protocols: `Authorization: Bearer KEY`, as metadata over gRPC.

The file of keys is checked for changes when a call comes, once a second at most. It may hold several keys, for rotation; a leaked key is
revoked by removing it from the file. If the file becomes unusable while the server runs, the old keys stay valid and an error is logged.
"""

from __future__ import annotations

import hmac
import logging
from hashlib import sha256
from pathlib import Path
from time import monotonic

from bentos.errors import UnauthorizedError
from contract import api_keys
from contract.errors import ConfigurationError

# Health checks need no key: load balancers and the kubelet cannot send one.
OPEN_PATHS = frozenset(("/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready"))
_OPEN_METHODS = (
    "/grpc.health.v1.Health/",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
)
_SCHEME = b"bearer "
_LOOK_AGAIN_S = 1.0
logger = logging.getLogger(__name__)


class Access:
    """The keys of a file, kept as digests.

    Raises:
        ConfigurationError: the file is unusable; raised by the constructor only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = _stamp(path)
        self._digests = _digests(path)
        self._look_again = monotonic() + _LOOK_AGAIN_S

    def check_path(self, path: str, authorization: bytes) -> None:
        """Raise UnauthorizedError unless the path is open to all, or the header holds a valid key."""
        if path not in OPEN_PATHS:
            self._check(authorization)

    def check_method(self, method: str, authorization: bytes) -> None:
        """Raise UnauthorizedError likewise for a gRPC method, such as `/inference.GRPCInferenceService/ModelInfer`."""
        if not is_open_method(method):
            self._check(authorization)

    def _check(self, authorization: bytes) -> None:
        if monotonic() >= self._look_again:
            self._read_again()
        scheme, key = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :]
        offered = sha256(key.strip()).digest()
        # Every key is compared whole, in constant time, so that the time taken reveals nothing about a key.
        known = [hmac.compare_digest(offered, digest) for digest in self._digests]
        if scheme.lower() != _SCHEME or not any(known):
            raise UnauthorizedError("no valid API key; send Authorization: Bearer KEY")

    def _read_again(self) -> None:
        self._look_again = monotonic() + _LOOK_AGAIN_S
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._digests = _digests(self._path)
        except ConfigurationError as error:
            logger.error("the API keys were not reloaded, and the old ones stay valid: %s", error)


def is_open_method(method: str) -> bool:
    """Return whether a gRPC method needs no key."""
    return method.startswith(_OPEN_METHODS)


def _stamp(path: Path) -> tuple[int, ...]:
    """Return inode, modification time (ns) and size of the file, which differ after a change; empty if it is missing."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _digests(path: Path) -> list[bytes]:
    return [sha256(key.encode()).digest() for key in api_keys.read(path)]
