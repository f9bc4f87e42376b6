"""Real servers of a test's own on the loopback interface: files over HTTP and HTTPS, S3, Google Cloud Storage and Azure."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness.ports import free_ports

SERVERS = Path(__file__).parents[1] / ".venv" / "servers" / "bin"
PASSWORD = "s3cr3t/p@ss:"
_AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_EVERYTHING = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}


class _Files(SimpleHTTPRequestHandler):
    """The files of a directory; `/STATUS/…` gets that status, and `/private/…` asks for a password."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        first = self.path.split("/")[1]
        if first.isdigit():
            self.send_error(int(first))
        elif first == "private" and self.headers["Authorization"] != _basic("me", PASSWORD):
            self.send_error(401)
        else:
            super().do_GET()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *arguments: Any) -> None:
        """A connection that the other side gave up is nothing to print."""


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@contextmanager
def files(directory: Path, certificate: Path | None = None) -> Iterator[int]:
    """The port of a server for the files of a directory, over TLS where there is a certificate."""
    with _Server(("127.0.0.1", 0), partial(_Files, directory=str(directory))) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def make_certificate(path: Path) -> None:
    """A key, and a certificate for 127.0.0.1 that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test's server")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + certificate.public_bytes(pem))


@contextmanager
def s3() -> Iterator[dict[str, str]]:
    """The environment of somebody who may do everything in an S3 that refuses everybody else."""
    with s3_users({}) as users:
        yield users["collector"]


@contextmanager
def s3_users(policies: dict[str, dict[str, Any]]) -> Iterator[dict[str, dict[str, str]]]:
    """The environments of users of an S3: of `collector`, who may do everything, and of others with a policy each."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with _running(port, SERVERS / "moto_server", "-H", "127.0.0.1", "-p", str(port)):
        import botocore.session

        anybody = {"aws_access_key_id": "anybody", "aws_secret_access_key": "anything"}
        iam = botocore.session.get_session().create_client("iam", "us-east-1", endpoint_url=url, **anybody)
        users = {
            name: _s3_user(iam, url, name, policy)
            for name, policy in {"collector": {"Statement": [_EVERYTHING]}, **policies}.items()
        }
        # From now on every request has to be signed by that user.
        plain = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{url}/moto-api/reset-auth", data=b"0", headers=plain, method="POST")
        urllib.request.urlopen(request).close()
        yield users


def _s3_user(iam: Any, url: str, name: str, policy: dict[str, Any]) -> dict[str, str]:
    iam.create_user(UserName=name)
    document = json.dumps({"Version": "2012-10-17", **policy})
    iam.put_user_policy(UserName=name, PolicyName="only", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@contextmanager
def google() -> Iterator[dict[str, str]]:
    """The environment in which an empty Google Cloud Storage without credentials answers; it has a bucket `deliveries`."""
    (port,) = free_ports(1)
    options = ["--host", "127.0.0.1", "--port", str(port), "--in-memory", "--default-bucket", "deliveries"]
    with _running(port, SERVERS / "gcp-storage-emulator", "start", *options):
        # The second is of a kind of bucket that the emulator does not know.
        yield {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}", "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}


@contextmanager
def azure(executable: str) -> Iterator[dict[str, str]]:
    """The environment in which an empty Azurite answers, in memory; every installation of it has this account and key."""
    (port,) = free_ports(1)
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--silent"]
    with _running(port, executable, *options, "--skipApiVersionCheck", "--disableTelemetry"):
        yield {
            "AZURE_STORAGE_CONNECTION_STRING": (
                f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={_AZURITE_KEY};"
                f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1"
            )
        }


@contextmanager
def _running(port: int, *command: str | Path) -> Iterator[None]:
    process = subprocess.Popen(
        list(map(str, command)),
        env={"PATH": os.environ.get("PATH", os.defpath)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{process.args!r} does not listen")
