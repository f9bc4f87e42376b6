"""Proxies in front of a server, with as little configuration as they take; each gives its own address while it listens."""

from __future__ import annotations

import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.ports import free_ports
from harness.waiting import until

_SBIN = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"


@contextmanager
def _listening(port: int, *command: str | Path) -> Iterator[None]:
    """A program while it listens on a port."""
    program = shutil.which(command[0], path=_SBIN)
    assert program is not None
    with subprocess.Popen([program, *command[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
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


@contextmanager
def nginx(server: str, directory: Path) -> Iterator[str]:
    (port,) = free_ports(1)
    (directory / "nginx.conf").write_text(f"""
        daemon off; user root; pid {directory}/pid; error_log {directory}/errors; events {{}}
        http {{
            access_log off; client_max_body_size 0; client_body_temp_path {directory}/bodies; proxy_temp_path {directory}/proxy;
            fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
            server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{server}; }} }}
        }}""")
    with _listening(port, "nginx", "-e", directory / "errors", "-c", directory / "nginx.conf"):
        yield f"127.0.0.1:{port}"


@contextmanager
def haproxy(server: str, directory: Path) -> Iterator[str]:
    """Yields when its default check, which is OPTIONS, has found the server healthy."""
    port, status = free_ports(2)
    (directory / "haproxy.cfg").write_text(f"""
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend statistics
    bind 127.0.0.1:{status}
    stats enable
    stats uri /
frontend callers
    bind 127.0.0.1:{port}
    default_backend servers
backend servers
    option httpchk
    server only {server} check inter 100 rise 2 fall 1
""")
    with _listening(port, "haproxy", "-db", "-f", directory / "haproxy.cfg"):
        until(lambda: _checked(status) == ("UP", "L7OK"))
        yield f"127.0.0.1:{port}"


def _checked(port: int) -> tuple[str, str]:
    """The state of the server, and the result of its last check, in HAProxy's words."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/;csv", timeout=10) as answer:
        head, *rows = [line.split(",") for line in answer.read().decode().splitlines()]
    (found,) = [row for row in rows if row[:2] == ["servers", "only"]]
    return found[head.index("status")], found[head.index("check_status")]
