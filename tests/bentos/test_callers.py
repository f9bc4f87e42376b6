"""Callers and proxies that ask in ways of their own: Upgrade with a body, OPTIONS as a health check, bodies that are sent whole."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.ports import free_ports
from tests.bentos.conftest import Case
from tests.bentos.running import Server
from tests.waiting import until

JAVA = """
import java.net.URI;
import java.net.http.*;

class Ask {
    public static void main(String[] given) throws Exception {
        var client = HttpClient.newHttpClient();  // which prefers HTTP/2, so it sends Upgrade: h2c
        for (int time = 0; time < 2; time++) {
            var request = HttpRequest.newBuilder(URI.create(given[0])).header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(given[1])).build();
            var answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.body());
        }
    }
}
"""


def needs(program: str) -> str:
    found = shutil.which(program, path="/usr/bin:/bin:/usr/sbin:/usr/local/bin")
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def listening(port: int, *command: str | Path) -> Iterator[None]:
    """A program while it listens on a port."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: _answers(port))
            yield
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def body(case: Case) -> str:
    return json.dumps({"rows": case.rows[:1]})


def test_curl_gets_an_answer_when_it_asks_for_http_2(server: Server, case: Case, body: str) -> None:
    curl = needs("curl")
    if "HTTP2" not in run(curl, "--version"):
        pytest.skip("this curl knows no HTTP/2")
    url = f"http://{server.http}/predict"
    said = run(curl, "--silent", "--http2", url, "-H", "Content-Type: application/json", "-d", body)
    assert json.loads(said)["predictions"] == case.answers[:1]


def test_java_gets_an_answer_with_its_defaults(server: Server, case: Case, body: str, tmp_path: Path) -> None:
    java = needs("java")
    needs("javac")
    (tmp_path / "Ask.java").write_text(JAVA)
    lines = run(java, tmp_path / "Ask.java", f"http://{server.http}/predict", body).splitlines()
    assert [line[:3] for line in lines] == ["200", "200"]
    assert all(json.loads(line[4:])["predictions"] == case.answers[:1] for line in lines)


def test_nginx_passes_on_that_a_body_is_too_long(server: Server, case: Case, body: str, tmp_path: Path) -> None:
    nginx = needs("nginx")
    (port,) = free_ports(1)
    (tmp_path / "nginx.conf").write_text(f"""
        daemon off; user root; pid {tmp_path}/pid; error_log {tmp_path}/errors; events {{}}
        http {{
            access_log off; client_max_body_size 0; client_body_temp_path {tmp_path}/bodies; proxy_temp_path {tmp_path}/proxy;
            fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;
            server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{server.http}; }} }}
        }}""")
    with listening(port, nginx, "-e", tmp_path / "errors", "-c", tmp_path / "nginx.conf"):
        url, headers = f"http://127.0.0.1:{port}/predict", {"content-type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(url, body.encode(), headers), timeout=10) as answer:
            assert json.loads(answer.read())["predictions"] == case.answers[:1]
        for mebibytes in (2, 40):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(urllib.request.Request(url, b" " * (mebibytes << 20), headers), timeout=30)
            with refused.value as answer:
                assert (answer.code, json.loads(answer.read())["error"]["code"]) == (413, "too_large")


def test_haproxy_takes_the_server_for_healthy_with_its_default_check(
    server: Server, case: Case, body: str, tmp_path: Path
) -> None:
    haproxy = needs("haproxy")
    port, status = free_ports(2)
    (tmp_path / "haproxy.cfg").write_text(f"""
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend statistics
    bind 127.0.0.1:{status}
    stats enable
    stats uri /
frontend callers
    bind 127.0.0.1:{port}
    default_backend servers
backend servers
    option httpchk
    server only {server.http} check inter 100 rise 2 fall 1
""")
    with listening(port, haproxy, "-db", "-f", tmp_path / "haproxy.cfg"):
        found: list[str] = []

        def checked() -> bool:
            with urllib.request.urlopen(f"http://127.0.0.1:{status}/;csv", timeout=10) as answer:
                table = [line.split(",") for line in answer.read().decode().splitlines()]
            (found[:],) = [line for line in table if line[:2] == ["servers", "only"]]
            return found[table[0].index("check_status")] == "L7OK"

        until(checked)
        assert found[17] == "UP"
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/predict", body.encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert json.loads(answer.read())["predictions"] == case.answers[:1]
