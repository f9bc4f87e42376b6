"""TLS for both protocols, from the options `--ssl-…` of `bentoml serve`.

HTTP's server takes them itself. gRPC must do the very same, or the server does not start: it must never be half in the clear.
TLS 1.2 is the least on both, by the defaults of their libraries.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.errors import ConfigurationError

_DEFAULT_CIPHERS = "TLSv1"  # as uvicorn and BentoML name those that OpenSSL offers by itself


@dataclass(frozen=True)
class Tls:
    """Files, PEM: the server's chain and key, and the authorities that must have signed a caller's certificate, if it must have one."""

    certificate: Path
    key: Path
    callers: Path | None = None

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Tls | None:
        """What the options of `bentoml serve` say; None where they ask for no TLS.

        Raises:
            ConfigurationError: they ask for what the two protocols cannot both do, or the files are of no use.
        """
        given: dict[str, Any] = {
            name: options.get(f"ssl_{name}") for name in ("certfile", "keyfile", "ca_certs", "cert_reqs")
        }
        if not any(given.values()):
            return None
        if not given["certfile"] or not given["keyfile"]:
            raise ConfigurationError("TLS needs both --ssl-certfile and --ssl-keyfile")
        _refuse_what_grpc_cannot(options)
        required = given["cert_reqs"] == ssl.CERT_REQUIRED
        if required != bool(given["ca_certs"]):
            raise ConfigurationError(
                "callers' certificates need --ssl-ca-certs, the authorities, together with --ssl-cert-reqs 2"
            )
        tls = cls(Path(given["certfile"]), Path(given["keyfile"]), Path(given["ca_certs"]) if required else None)
        tls._check()
        return tls

    def context(self) -> ssl.SSLContext:
        """For HTTP."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key, password="")  # or OpenSSL asks at the terminal
        if self.callers:
            context.load_verify_locations(self.callers)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def grpc_credentials(self) -> Any:
        """The same for gRPC."""
        import grpc  # type: ignore[import-untyped]  # not in the supervisor, which checks the options

        authorities = self.callers.read_bytes() if self.callers else None
        pair = (self.key.read_bytes(), self.certificate.read_bytes())
        return grpc.ssl_server_credentials([pair], authorities, require_client_auth=self.callers is not None)

    def _check(self) -> None:
        try:
            self.context()
        except (OSError, ValueError) as error:  # SSLError is an OSError
            files = ", ".join(map(str, filter(None, (self.certificate, self.key, self.callers))))
            raise ConfigurationError(
                f"TLS cannot use {files} ({error}): they must be readable PEM files, the key without a password and of that certificate"
            ) from None


def _refuse_what_grpc_cannot(options: Mapping[str, Any]) -> None:
    refused = {
        "--ssl-keyfile-password": bool(options.get("ssl_keyfile_password")),
        "--ssl-version": options.get("ssl_version") not in (None, 0, int(ssl.PROTOCOL_TLS_SERVER)),
        "--ssl-ciphers": options.get("ssl_ciphers") not in (None, "", _DEFAULT_CIPHERS),
        "--ssl-cert-reqs 1": options.get("ssl_cert_reqs") == ssl.CERT_OPTIONAL,
    }
    if asked := [name for name, is_asked in refused.items() if is_asked]:
        raise ConfigurationError(
            f"gRPC cannot do what {' and '.join(asked)} would have HTTP do, and the two must not differ: leave it out"
        )
