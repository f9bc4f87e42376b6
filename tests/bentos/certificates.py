"""Certificates for tests of TLS, made by the openssl command: an authority, and what it, or nobody, has signed."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Authority:
    """A certificate authority in a directory; `path` is its certificate."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory / name
        self._directory.mkdir()
        self.path = self._directory / "ca.pem"
        self._openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
            *("-keyout", "ca.key", "-out", "ca.pem"),
        )

    def issue(self, name: str, *, days: int = 2) -> tuple[Path, Path]:
        """Certificate and key for 127.0.0.1, to the end of `days` from now; of a negative number it has expired."""
        request = ("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}")
        self._openssl(*request, "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (self._directory / "san").write_text("subjectAltName=IP:127.0.0.1\n")
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-days", str(days), "-extfile", "san", "-out", f"{name}.pem"),
        )
        return self._directory / f"{name}.pem", self._directory / f"{name}.key"

    def encrypted(self, key: Path, password: str) -> Path:
        """The same key, in a file that a password opens."""
        target = key.with_suffix(".encrypted")
        self._openssl("rsa", "-aes256", "-in", str(key), "-out", str(target), "-passout", f"pass:{password}")
        return target

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._directory, check=True, capture_output=True)
