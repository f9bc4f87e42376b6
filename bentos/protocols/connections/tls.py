"""TLS of both protocols, by the options `--ssl-…` of `bentoml serve`; version 1.2 or later, by Python's defaults."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from contract.errors import ConfigurationError

_DEFAULT_CIPHERS = (None, "", "TLSv1")  # BentoML's default "TLSv1" means OpenSSL's own choice here
_DEFAULT_VERSIONS = (None, 0, int(ssl.PROTOCOL_TLS_SERVER))


def context(options: Mapping[str, Any], within: str) -> ssl.SSLContext | None:
    """Return the context that the options of `bentoml serve` describe; None without TLS.

    Args:
        within: the ALPN name of the protocol inside TLS, `http/1.1` or `h2`.

    Raises:
        ConfigurationError: the options contradict each other, or a file is unusable.
    """
    certificate, key, authorities = (options.get(f"ssl_{name}") for name in ("certfile", "keyfile", "ca_certs"))
    requirement = ssl.VerifyMode(options.get("ssl_cert_reqs") or ssl.CERT_NONE)
    if not any((certificate, key, authorities, requirement)):
        return None
    if not certificate or not key:
        raise ConfigurationError("TLS needs both --ssl-certfile and --ssl-keyfile")
    if bool(requirement) != bool(authorities):
        raise ConfigurationError(
            "client certificates need both --ssl-ca-certs, the authorities, and --ssl-cert-reqs, 2 to require one of every client"
        )
    if options.get("ssl_version") not in _DEFAULT_VERSIONS:
        raise ConfigurationError("--ssl-version is unsupported: remove it; the server speaks TLS 1.2 and later")
    try:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Always with a password, or OpenSSL would prompt for one at the terminal.
        made.load_cert_chain(certificate, key, options.get("ssl_keyfile_password") or "")
        made.verify_mode = requirement
        if authorities:
            made.load_verify_locations(authorities)
        if (ciphers := options.get("ssl_ciphers")) not in _DEFAULT_CIPHERS:
            made.set_ciphers(ciphers)
        made.set_alpn_protocols([within])
    except (OSError, ValueError) as error:  # SSLError is an OSError
        files = ", ".join(map(str, filter(None, (certificate, key, authorities))))
        raise ConfigurationError(
            f"TLS cannot use {files} ({error}): they must be readable PEM files, with the key of that certificate, its password, if any, "
            "in --ssl-keyfile-password, and only ciphers in --ssl-ciphers that OpenSSL knows"
        ) from None
    return made
