"""Real servers of a test's own on the loopback interface: files over HTTP and HTTPS, S3, Google Cloud Storage and Azure."""

from __future__ import annotations

import base64
import hmac
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
from email.utils import formatdate
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness import PROJECT
from harness.ports import free_ports

SERVERS = PROJECT / ".venv" / "servers" / "bin"
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
        """Print nothing when the client drops a connection."""


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@contextmanager
def files(directory: Path, certificate: Path | None = None) -> Iterator[int]:
    """Yield the port of a server for a directory's files, over TLS if there is a certificate."""
    with _Server(("127.0.0.1", 0), partial(_Files, directory=str(directory))) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            # The handshake belongs to a request's thread: before accept() returns, a silent client would block all others.
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def make_certificate(path: Path) -> None:
    """Write a key, a certificate for 127.0.0.1, and that of its authority: obstore trusts no self-signed certificate."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    certificates = _certificate("a test's server", key, authority), _certificate("an authority", authority, authority)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + b"".join(certificate.public_bytes(pem) for certificate in certificates))


def _certificate(name: str, key: ec.EllipticCurvePrivateKey, authority: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    subject, issuer = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in (name, "an authority")
    )
    now, is_authority = datetime.now(UTC), key is authority
    return (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(is_authority, 0 if is_authority else None), critical=True)
        .sign(authority, hashes.SHA256())
    )


# Runs in moto's environment: those of the tests need not have botocore.
_S3_SET_UP = """
import json, sys
import botocore.session
url, policies = sys.argv[1], json.loads(sys.argv[2])
session = botocore.session.get_session()
anybody = {"aws_access_key_id": "anybody", "aws_secret_access_key": "anything", "endpoint_url": url}
session.create_client("s3", "us-east-1", **anybody).create_bucket(Bucket="models")
iam, users = session.create_client("iam", "us-east-1", **anybody), {}
for name, policy in policies.items():
    iam.create_user(UserName=name)
    document = json.dumps({"Version": "2012-10-17", **policy})
    iam.put_user_policy(UserName=name, PolicyName="only", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    users[name] = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
print(json.dumps(users))
"""


@contextmanager
def s3() -> Iterator[dict[str, str]]:
    """Yield the environment of an S3 user with all permissions; the store rejects everybody else, and has a bucket `models`."""
    with s3_users({}) as users:
        yield users["collector"]


@contextmanager
def s3_users(policies: dict[str, dict[str, Any]]) -> Iterator[dict[str, dict[str, str]]]:
    """Yield the environments of S3 users: `collector` with all permissions, and others with a policy each."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    everybody = {"collector": {"Statement": [_EVERYTHING]}, **policies}
    with _running(port, SERVERS / "moto_server", "-H", "127.0.0.1", "-p", str(port)):
        command = [str(SERVERS / "python"), "-c", _S3_SET_UP, url, json.dumps(everybody)]
        path = {"PATH": os.environ.get("PATH", os.defpath)}
        done = subprocess.run(command, env=path, stdout=subprocess.PIPE, check=True)
        # From now on every request must be signed by one of the users.
        plain = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{url}/moto-api/reset-auth", data=b"0", headers=plain, method="POST")
        urllib.request.urlopen(request).close()
        where = {"AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1"}
        yield {name: {**keys, **where} for name, keys in json.loads(done.stdout).items()}


@contextmanager
def google() -> Iterator[dict[str, str]]:
    """Yield the environment of an empty Google Cloud Storage without credentials; it has a bucket `deliveries`."""
    (port,) = free_ports(1)
    options = ["--host", "127.0.0.1", "--port", str(port), "--in-memory", "--default-bucket", "deliveries"]
    with _running(port, SERVERS / "gcp-storage-emulator", "start", *options):
        # The second bucket has a kind unknown to the emulator.
        yield {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}", "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}


@contextmanager
def azure(executable: str) -> Iterator[dict[str, str]]:
    """Yield the environment of an Azurite in memory with a container `models`; every Azurite has this account and key."""
    (port,) = free_ports(1)
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--silent"]
    with _running(port, executable, *options, "--skipApiVersionCheck", "--disableTelemetry"):
        _make_container(port)
        yield {
            "AZURE_STORAGE_CONNECTION_STRING": (
                f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={_AZURITE_KEY};"
                f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1"
            )
        }


def _make_container(port: int) -> None:
    """Create a container by a request signed with Shared Key, since no client of the tests can.

    https://learn.microsoft.com/en-us/rest/api/storageservices/authorize-with-shared-key
    """
    now, version = formatdate(usegmt=True), "2021-08-06"
    place = "devstoreaccount1/devstoreaccount1/models"
    text = "PUT" + "\n" * 12 + f"x-ms-date:{now}\nx-ms-version:{version}\n/{place}\nrestype:container"
    digest = hmac.digest(base64.b64decode(_AZURITE_KEY), text.encode(), "sha256")
    signature = f"SharedKey devstoreaccount1:{base64.b64encode(digest).decode()}"
    headers = {"x-ms-date": now, "x-ms-version": version, "Authorization": signature}
    url = f"http://127.0.0.1:{port}/devstoreaccount1/models?restype=container"
    urllib.request.urlopen(urllib.request.Request(url, headers=headers, method="PUT")).close()


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
