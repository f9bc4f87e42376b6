"""API keys and TLS, asked of a real `bentoml serve` over both protocols; and what is refused before a server starts."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from bentos.errors import UnauthorizedError
from bentos.guards.access import Access
from bentos.rehearsal import asking
from bentos.rehearsal.channel import GrpcChannel
from contract import api_keys
from contract.errors import ConfigurationError
from harness.ports import free_ports
from tests.bentos.certificates import Authority
from tests.bentos.conftest import Case
from tests.bentos.running import START_TIMEOUT_S, Server

KEY, OTHER, NEW = "a" * 32, "b" * 40, "c" * 64


def start(bundle: Path, directory: Path, *options: str | Path, **variables: str) -> Server:
    """A server with options and environment of its own; not waited for."""
    http_port, grpc_port = free_ports(2)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "BENTOML", "BULKHEAD"))}
    environment = kept | {
        "BENTOML_HOME": str(directory / "home"),
        "BENTOML_DO_NOT_TRACK": "true",
        "BULKHEAD_GRPC_PORT": str(grpc_port),
        **variables,
    }
    command = [sys.executable, "-m", "bentoml", "serve", str(bundle), "--host", "127.0.0.1", "--port", str(http_port)]
    log = directory / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen([*command, *options], cwd=directory, env=environment, stdout=stream, stderr=stream)
    return Server(f"127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}", process, log)


def wait(server: Server, url: str, context: ssl.SSLContext | None = None) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", context=context, timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    server.process.kill()
    pytest.fail(f"the server did not become ready:\n{server.log.read_text()[-4000:]}")


def get(url: str, key: str | None = None, body: bytes | None = None) -> tuple[int, Any, bytes]:
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key is not None else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def call(channel: grpc.Channel, method: str, content: bytes = b"", key: str | None = None) -> grpc.StatusCode:
    metadata = (("authorization", f"Bearer {key}"),) if key is not None else ()
    try:
        channel.unary_unary(method)(content, timeout=10, metadata=metadata)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


# ---- API keys ----


@pytest.fixture(scope="module")
def keyed(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A server that asks for a key and has an admin port, and the file of its keys."""
    directory = tmp_path_factory.mktemp("keyed")
    keys = directory / "keys"
    keys.write_text(f"# the first\n{KEY}\n\n{OTHER}\n")
    (admin,) = free_ports(1)
    server = start(bundle, directory, BULKHEAD_API_KEYS_FILE=str(keys), BULKHEAD_ADMIN_PORT=str(admin))
    server.admin = f"127.0.0.1:{admin}"
    wait(server, f"http://{server.http}")
    yield server, keys
    server.stop()


PROTECTED = ["/predict", "/v2", "/v2/models/flights", "/", "/docs.json", "/metrics", "/schema.json", "/nowhere"]
WRONG = [None, "", "x", KEY[:-1], f"{KEY}x", NEW]


def test_key_is_asked_for_over_http_and_never_logged(keyed: tuple[Server, Path], case: Case) -> None:
    server, _ = keyed
    body = json.dumps({"rows": case.rows[:1]}).encode()
    for path in PROTECTED:
        for key in WRONG:
            status, headers, content = get(f"http://{server.http}{path}", key)
            assert (status, headers["www-authenticate"]) == (401, 'Bearer realm="bulkhead"')
            error = json.loads(content)["error"]
            assert isinstance(error, str) if path.startswith("/v2") else error["code"] == "unauthorized"
            assert headers["x-model-version"] == case.version
    for key in (KEY, OTHER):
        status, _, content = get(f"http://{server.http}/predict", key, body)
        assert (status, json.loads(content)["predictions"]) == (200, case.answers[:1])
    for path in ("/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready"):
        assert get(f"http://{server.http}{path}")[0] == 200
    assert not any(key in server.log.read_text() for key in (KEY, OTHER, NEW))


def test_key_is_asked_for_over_grpc(keyed: tuple[Server, Path], case: Case) -> None:
    server, _ = keyed
    schema = json.loads((case.bundle / "src" / "bundle" / "schema.json").read_bytes())
    service = "/inference.GRPCInferenceService"
    reflection = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    with grpc.insecure_channel(server.grpc) as channel:
        for method in (f"{service}/ModelInfer", f"{service}/ServerMetadata", f"{service}/Nothing", reflection):
            for key in WRONG:
                assert call(channel, method, key=key) is grpc.StatusCode.UNAUTHENTICATED, method
        for method in (f"{service}/ServerLive", f"{service}/ServerReady", "/grpc.health.v1.Health/Check"):
            assert call(channel, method) is grpc.StatusCode.OK
    row = {name: value for name, value in case.row.items() if value is not None}
    with GrpcChannel(server.grpc) as own:
        found, version = asking.over_grpc(own, row, schema, {"authorization": f"bearer {OTHER}"})
        assert (found["probability"], version) == (case.answers[0]["probability"], case.version)


def test_pages_and_metrics_are_at_the_admin_port_alone_and_health_at_both(
    keyed: tuple[Server, Path], case: Case
) -> None:
    server, _ = keyed
    body = json.dumps({"rows": case.rows[:1]}).encode()
    for path in ("/", "/docs.json", "/metrics", "/static_content/swagger-ui.css"):
        assert get(f"http://{server.http}{path}", KEY)[0] == 404
        assert get(f"http://{server.admin}{path}", KEY)[0] == 200
        assert get(f"http://{server.admin}{path}")[0] == 401
    for address in (server.http, server.admin):
        assert get(f"http://{address}/readyz")[0] == 200
        status, _, content = get(
            f"http://{address}/predict", KEY, body
        )  # "Try it out" on the page at / asks its own port
        assert (status, json.loads(content)["predictions"]) == (200, case.answers[:1])
    assert b'outcome="unauthorized"' in get(f"http://{server.admin}/metrics", KEY)[2]


def test_key_is_refused_before_the_body_has_come(keyed: tuple[Server, Path]) -> None:
    host, port = keyed[0].http.split(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 401")


def test_keys_are_rotated_when_their_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bentos.guards.access._LOOK_AGAIN_S", 0.0)
    path = tmp_path / "keys"
    path.write_text(KEY)
    access = Access(path)

    def admits(key: str) -> bool:
        try:
            access.check_path("/predict", f"Bearer {key}".encode())
        except UnauthorizedError:
            return False
        return True

    assert (admits(KEY), admits(NEW)) == (True, False)
    path.write_text(f"{KEY}\n{NEW}\n")
    assert (admits(KEY), admits(NEW)) == (True, True)
    path.write_text(f"{NEW}\n")
    assert (admits(KEY), admits(NEW)) == (False, True)
    path.write_text("")
    assert (admits(KEY), admits(NEW), admits("")) == (False, True, False)
    path.unlink()
    assert (admits(KEY), admits(NEW)) == (False, True)


@pytest.mark.parametrize("authorization", [b"", KEY.encode(), b"Basic " + KEY.encode(), b"Bearer", b"\xff" * 40])
def test_header_without_a_key_is_refused(tmp_path: Path, authorization: bytes) -> None:
    (tmp_path / "keys").write_text(KEY)
    with pytest.raises(UnauthorizedError, match="Authorization: Bearer KEY"):
        Access(tmp_path / "keys").check_path("/predict", authorization)


@pytest.mark.parametrize("content", [b"", b"\n# none\n", b"short", b"x" * 31, b"\xff" * 40, b"a key " * 9])
def test_file_is_refused_without_its_content_when_it_holds_no_good_key(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys").write_bytes(content)
    with pytest.raises(ConfigurationError, match="keys") as error:
        api_keys.read(tmp_path / "keys")
    assert "short" not in str(error.value)
    assert "a key a key" not in str(error.value)


# ---- TLS ----


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"), "good")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"), "stranger")


@pytest.fixture(scope="module")
def mutual(bundle: Path, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has a certificate, and asks for one."""
    certificate, key = authority.issue("server")
    options = ["--ssl-certfile", certificate, "--ssl-keyfile", key, "--ssl-ca-certs", authority.path]
    server = start(bundle, tmp_path_factory.mktemp("mutual"), *options, "--ssl-cert-reqs", "2")
    wait(server, f"https://{server.http}", client_context(authority, authority.issue("probe")))
    yield server
    server.stop()


def client_context(authority: Authority, pair: tuple[Path, Path] | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.path))
    if pair:
        context.load_cert_chain(*pair)
    return context


def http_works(server: Server, context: ssl.SSLContext) -> bool:
    try:
        with urllib.request.urlopen(f"https://{server.http}/v2", context=context, timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def grpc_works(server: Server, authority: Authority, pair: tuple[Path, Path] | None) -> bool:
    chain, key = (pair[0].read_bytes(), pair[1].read_bytes()) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.path.read_bytes(), key, chain)
    with grpc.secure_channel(server.grpc, credentials) as channel:
        found = call(channel, "/inference.GRPCInferenceService/ServerMetadata")
    assert found in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE)
    return found is grpc.StatusCode.OK


def test_caller_needs_a_certificate_of_the_authority_over_both_protocols(
    mutual: Server, authority: Authority, stranger: Authority
) -> None:
    for trusted, pair, expected in (
        (authority, authority.issue("caller"), True),
        (authority, None, False),
        (authority, stranger.issue("caller"), False),
        (authority, authority.issue("expired", days=-1), False),
        (stranger, authority.issue("caller"), False),  # who does not know the server's authority will not talk to it
    ):
        assert http_works(mutual, client_context(trusted, pair)) is expected
        assert grpc_works(mutual, trusted, pair) is expected


def test_callers_are_told_to_come_over_tls_alone(
    mutual: Server, keyed: tuple[Server, Path], authority: Authority
) -> None:
    context = client_context(authority, authority.issue("strict"))
    for path in ("/livez", "/v2", "/docs.json"):
        with urllib.request.urlopen(f"https://{mutual.http}{path}", context=context, timeout=10) as answer:
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert get(f"http://{keyed[0].http}/livez")[1]["strict-transport-security"] is None


def test_certificate_may_be_shown_and_a_key_may_have_a_password(
    bundle: Path, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.issue("server")
    options = ["--ssl-certfile", certificate, "--ssl-keyfile", authority.encrypted(key, "secret")]
    options += ["--ssl-keyfile-password", "secret", "--ssl-ca-certs", authority.path, "--ssl-cert-reqs", "1"]
    server = start(bundle, tmp_path, *options, "--ssl-ciphers", "ECDHE-RSA-AES256-GCM-SHA384")
    wait(server, f"https://{server.http}", client_context(authority, None))
    for pair, expected in ((None, True), (authority.issue("caller"), True), (stranger.issue("caller"), False)):
        assert http_works(server, client_context(authority, pair)) is expected
        assert grpc_works(server, authority, pair) is expected
    for address in (server.http, server.grpc):
        for cipher, agreed in (("AES128-SHA256", False), ("ECDHE-RSA-AES256-GCM-SHA384", True)):
            command = ["openssl", "s_client", "-connect", address, "-tls1_2", "-cipher", cipher, "-alpn", "h2,http/1.1"]
            done = subprocess.run(command, input=b"", capture_output=True, check=False, timeout=20)
            assert (f"Cipher is {cipher}".encode() in done.stdout) is agreed
    server.stop()


def test_relative_paths_are_those_of_where_the_server_was_started(
    bundle: Path, case: Case, authority: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.issue("server")
    for source, name in ((certificate, "server.pem"), (key, "server.key"), (authority.path, "ca.pem")):
        shutil.copy(source, tmp_path / name)
    (tmp_path / "keys").write_text(f"{KEY}\n")
    (tmp_path / "log").mkdir()
    options = ["--ssl-certfile", "server.pem", "--ssl-keyfile", "server.key", "--ssl-ca-certs", "ca.pem"]
    variables = {"BULKHEAD_API_KEYS_FILE": "keys", "BULKHEAD_PREDICTION_LOG": "log"}
    server = start(bundle, tmp_path, *options, "--ssl-cert-reqs", "2", **variables)
    pair = authority.issue("caller")
    context = client_context(authority, pair)
    wait(server, f"https://{server.http}", context)
    assert not http_works(server, context)  # without a key
    body = json.dumps({"rows": case.rows[:1]}).encode()
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    asked = urllib.request.Request(f"https://{server.http}/predict", body, headers)
    with urllib.request.urlopen(asked, context=context, timeout=10) as answer:
        assert json.loads(answer.read())["predictions"] == case.answers[:1]
    server.stop()
    (written,) = (tmp_path / "log").iterdir()
    assert written.is_file()


def test_other_protocol_than_http_2_gets_no_answer_from_grpc(mutual: Server, authority: Authority) -> None:
    host, port = mutual.grpc.split(":")
    for offered in ([], ["http/1.1"]):
        context = client_context(authority, authority.issue("caller"))
        if offered:
            context.set_alpn_protocols(offered)
        with (
            contextlib.suppress(ConnectionError, ssl.SSLError),
            socket.create_connection((host, int(port)), 20) as plain,
            context.wrap_socket(plain, server_hostname=host) as connection,
        ):
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            assert connection.recv(100) == b""


def test_plain_text_gets_no_answer_when_the_server_has_tls(mutual: Server) -> None:
    for address in (mutual.http, mutual.grpc):
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), 5) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert b"HTTP/1.1 2" not in connection.recv(1000)
    with grpc.insecure_channel(mutual.grpc) as channel:
        assert call(channel, "/inference.GRPCInferenceService/ServerLive") is grpc.StatusCode.UNAVAILABLE


def test_handshake_fails_when_it_offers_less_than_tls_1_2(mutual: Server, authority: Authority) -> None:
    pair = authority.issue("caller")
    for address in (mutual.http, mutual.grpc):
        for option, agreed in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
            command = ["openssl", "s_client", "-connect", address, option, "-cipher", "DEFAULT@SECLEVEL=0", "-alpn"]
            command += ["h2,http/1.1", "-CAfile", str(authority.path), "-cert", str(pair[0]), "-key", str(pair[1])]
            done = subprocess.run(command, input=b"", capture_output=True, check=False, timeout=20)
            assert (b"Verify return code: 0" in done.stdout and b"Cipher is (NONE)" not in done.stdout) is agreed


def test_server_ends_with_the_reason_when_its_guards_are_of_no_use(
    bundle: Path, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.issue("server")
    pair: list[str | Path] = ["--ssl-certfile", certificate, "--ssl-keyfile", key]
    (tmp_path / "empty").touch()
    servers = {}
    for name, options, variables, reason in (
        ("half", ["--ssl-certfile", certificate], {}, "both --ssl-certfile and --ssl-keyfile"),
        ("other", [*pair[:3], stranger.issue("x")[1]], {}, "of that certificate"),
        ("authorities", [*pair, "--ssl-cert-reqs", "2"], {}, "--ssl-ca-certs"),
        ("nobody", [*pair, "--ssl-ca-certs", authority.path], {}, "--ssl-cert-reqs"),
        ("ciphers", [*pair, "--ssl-ciphers", "NONE-SUCH"], {}, "--ssl-ciphers"),
        ("version", [*pair, "--ssl-version", str(int(ssl.PROTOCOL_TLSv1_2))], {}, "--ssl-version"),
        (
            "password",
            [*pair[:3], authority.encrypted(key, "secret"), "--ssl-keyfile-password", "wrong"],
            {},
            "--ssl-keyfile-password",
        ),
        ("keys", [], {"BULKHEAD_API_KEYS_FILE": str(tmp_path / "empty")}, "contains no API keys"),
        ("admin", [], {"BULKHEAD_ADMIN_PORT": "0"}, "BULKHEAD_ADMIN_PORT is '0'"),
    ):
        directory = tmp_path / name
        directory.mkdir()
        servers[reason] = start(bundle, directory, *options, **variables)
    for reason, server in servers.items():
        assert server.process.wait(300) == 78, reason
        assert reason in server.log.read_text()
