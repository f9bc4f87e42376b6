"""Who may call: API keys, the same over both protocols (`Authorization: Bearer KEY`; as metadata over gRPC).

Keys lie in a file that is looked at again, once a second at most, when a call comes: several at once while they are rotated, and one
that has leaked is out as soon as it is out of the file. A file that becomes useless while the server runs changes nothing and is logged.
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

# Who asks whether a server lives need not prove who he is: load balancers and the kubelet cannot.
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
        ConfigurationError: the file cannot be used; only when the object is made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = _stamp(path)
        self._digests = _digests(path)
        self._look_again = monotonic() + _LOOK_AGAIN_S

    def check_path(self, path: str, authorization: bytes) -> None:
        """Raises UnauthorizedError unless the path is open to all, or the header has a key."""
        if path not in OPEN_PATHS:
            self._check(authorization)

    def check_method(self, method: str, authorization: bytes) -> None:
        """The same for a method of gRPC, such as `/inference.GRPCInferenceService/ModelInfer`."""
        if not is_open_method(method):
            self._check(authorization)

    def _check(self, authorization: bytes) -> None:
        if monotonic() >= self._look_again:
            self._read_again()
        scheme, key = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :]
        offered = sha256(key.strip()).digest()
        # Every key is compared, and all of each: how long it takes tells nothing.
        known = [hmac.compare_digest(offered, digest) for digest in self._digests]
        if scheme.lower() != _SCHEME or not any(known):
            raise UnauthorizedError("this server asks for an API key: Authorization: Bearer KEY")

    def _read_again(self) -> None:
        self._look_again = monotonic() + _LOOK_AGAIN_S
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._digests = _digests(self._path)
        except ConfigurationError as error:
            logger.error("the API keys stay as they were: %s", error)


def is_open_method(method: str) -> bool:
    """Whether anybody may call a method of gRPC."""
    return method.startswith(_OPEN_METHODS)


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when the file does."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _digests(path: Path) -> list[bytes]:
    return [sha256(key.encode()).digest() for key in api_keys.read(path)]
