"""TLS, from the options `--ssl-…` of `bentoml serve`: the same for both protocols. TLS 1.2 is the least, by Python's defaults."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from contract.errors import ConfigurationError

_DEFAULT_CIPHERS = (None, "", "TLSv1")  # as BentoML names those that OpenSSL offers by itself
_DEFAULT_VERSIONS = (None, 0, int(ssl.PROTOCOL_TLS_SERVER))


def context(options: Mapping[str, Any], within: str) -> ssl.SSLContext | None:
    """What the options of `bentoml serve` ask for; None where they ask for no TLS.

    Args:
        within: the protocol that is spoken, as TLS names it (ALPN): `http/1.1` or `h2`.

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
        raise ConfigurationError("--ssl-version must be left out: TLS 1.2 and what is later are spoken")
    try:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # With a password in any case, or OpenSSL would ask for one at the terminal.
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
            f"TLS cannot use {files} ({error}): they must be readable PEM files, the key of that certificate and its password, if it "
            "has one, in --ssl-keyfile-password; and the ciphers of --ssl-ciphers known to OpenSSL"
        ) from None
    return made
