"""TLS for both protocols, from the options `--ssl-…` of `bentoml serve`.

HTTP's server takes them itself; gRPC gets a context made of them by the very same function, or the server does not start: it must never
be half in the clear. TLS 1.2 is the least on both, by Python's defaults.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from contract.errors import ConfigurationError

_DEFAULT_CIPHERS = "TLSv1"  # as uvicorn and BentoML name those that OpenSSL offers by itself
_DEFAULT_VERSIONS = (None, 0, int(ssl.PROTOCOL_TLS_SERVER))


def context(options: Mapping[str, Any]) -> ssl.SSLContext | None:
    """What the options of `bentoml serve` ask for, with HTTP/2 as the protocol within; None where they ask for no TLS.

    Raises:
        ConfigurationError: they contradict each other, or the files are of no use.
    """
    certificate, key, authorities = (options.get(f"ssl_{name}") for name in ("certfile", "keyfile", "ca_certs"))
    requirement = ssl.VerifyMode(options.get("ssl_cert_reqs") or ssl.CERT_NONE)
    if not any((certificate, key, authorities, requirement)):
        return None
    if not certificate or not key:
        raise ConfigurationError("TLS needs both --ssl-certfile and --ssl-keyfile")
    if bool(requirement) != bool(authorities):
        raise ConfigurationError(
            "callers' certificates need --ssl-ca-certs, the authorities, together with --ssl-cert-reqs, 2 to ask everybody for one"
        )
    if options.get("ssl_version") not in _DEFAULT_VERSIONS:
        raise ConfigurationError("--ssl-version must be left out: TLS 1.2 and all later versions are spoken")
    from uvicorn.config import create_ssl_context  # in the supervisor only where there is TLS

    password = options.get("ssl_keyfile_password") or ""
    try:
        # First with a password in any case, or OpenSSL would ask for one at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password)
        return create_ssl_context(
            certificate,
            key,
            password,
            ssl.PROTOCOL_TLS_SERVER,
            requirement,
            authorities,
            options.get("ssl_ciphers") or _DEFAULT_CIPHERS,
            alpn_protocols=["h2"],
        )
    except (OSError, ValueError) as error:  # SSLError is an OSError
        files = ", ".join(map(str, filter(None, (certificate, key, authorities))))
        raise ConfigurationError(
            f"TLS cannot use {files} ({error}): they must be readable PEM files, the key of that certificate and its password, "
            "if it has one, in --ssl-keyfile-password; --ssl-ciphers must name ciphers of OpenSSL"
        ) from None
