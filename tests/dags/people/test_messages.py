"""Messages reach a webhook and a mail server, tell no secrets, and a dead receiver fails nothing."""

from __future__ import annotations

import socketserver
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from harness import PROJECT
from harness.ports import free_ports
from tests.dags.machine import without_airflow
from tests.dags.people.conftest import Receiver

SECRET = "hook-secret-7"


@pytest.fixture(autouse=True)
def dags_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROJECT / "dags"))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "alerts.toml"
    monkeypatch.setenv("BULKHEAD_ALERTS", str(path))
    return path


@pytest.fixture
def mails() -> Iterator[tuple[int, list[str]]]:
    """A mail server's port, and what it is sent."""
    kept: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 test\r\n")
            for line in self.rfile:
                if line.upper().startswith(b"DATA"):
                    self.wfile.write(b"354 go on\r\n")
                    kept.append(b"".join(iter(self.rfile.readline, b".\r\n")).decode())
                self.wfile.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 fine\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], kept
        server.shutdown()


def context() -> dict[str, Any]:
    return {
        "dag": SimpleNamespace(dag_id="monitor", get_template_env=lambda **_: None),
        "run_id": "r",
        "task_instance": SimpleNamespace(task_id="monitor", log_url="http://airflow/log"),
        "dag_run": SimpleNamespace(partition_key="2013-02"),
        "exception": ValueError("row 4711: tail number N14228"),
    }


def test_nobody_is_told_without_settings(settings: Path) -> None:
    from operations.messages import receivers

    assert len(receivers()) == 0


def test_message_arrives_by_webhook_and_by_mail(settings: Path, mails: tuple[int, list[str]]) -> None:
    from operations.messages import receivers
    from operations.notifier import message

    port, kept = mails
    hook = Receiver()
    mail = f'[email]\nhost = "127.0.0.1"\nport = {port}\nstarttls = false\nsender = "a@example.com"\nto = ["b@example.com"]\n'
    settings.write_text(f'webhook = "{hook.url}"\n{mail}')
    try:
        assert receivers().send(message(context())) == []
    finally:
        hook.close()
    (sent,) = hook.messages
    assert sent["text"].startswith("monitor 2013-02: monitor failed\ndag: monitor\nmonth: 2013-02\n")
    assert "clear the task" in sent["todo"]
    (mailed,) = kept
    assert "Subject: monitor 2013-02: monitor failed" in mailed
    assert "http://airflow/log" in mailed


def test_message_quotes_no_exception_and_needs_no_task(settings: Path) -> None:
    from operations.notifier import message

    assert "4711" not in message(context()).text
    bare = {"dag": SimpleNamespace(dag_id="monitor"), "run_id": "r", "reason": "timed_out"}
    assert message(bare).title == "monitor r: run failed"


def test_dead_webhook_is_a_line_in_the_log_without_its_address(
    settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from operations.notifier import Alert

    (port,) = free_ports(1)
    settings.write_text(f'webhook = "http://127.0.0.1:{port}/{SECRET}"\n')
    Alert()(context())
    said = "".join(capsys.readouterr())
    assert "no alert was sent: webhook: URLError" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("webhook = ", "Invalid value"),
        ('webhook = "ftp://x"', "must be an http"),
        ('hook = "https://x"', "hook: unknown"),
        ('[email]\nhost = "x"', "email.sender: missing"),
        ('[email]\nhost = "x"\nsender = "a"\nto = "b"', "email.to: must be of type list"),
        ('[email]\nhosts = "x"', "email.hosts: unknown"),
    ],
)
def test_wrong_settings_are_named(settings: Path, text: str, reason: str) -> None:
    from operations.messages import SettingsError, receivers

    settings.write_text(text)
    with pytest.raises(SettingsError, match=reason) as caught:
        receivers()
    assert str(settings) in str(caught.value)


def watched(home: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """One look of `bin/airflow-watch` at an Airflow that is not there."""
    (port,) = free_ports(1)
    given = {"BULKHEAD_AIRFLOW_HOME": str(home), "BULKHEAD_AIRFLOW_PORT": str(port), **changes}
    command = [sys.executable, PROJECT / "bin" / "airflow-watch", "--once"]
    return subprocess.run(command, env=without_airflow() | given, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("BULKHEAD_PROGRESS_LIMIT_S", "soon", "'soon' is not a number of seconds"),
        ("BULKHEAD_PROGRESS_LIMIT_S", "0", "'0' is not a number of seconds"),
        ("BULKHEAD_AIRFLOW_URL", "localhost:8088", "'localhost:8088' is no http:// or https:// URL"),
        ("BULKHEAD_AIRFLOW_USER", "eve", "no password of 'eve'; it has admin"),
    ],
)
def test_watch_names_the_setting_that_is_wrong(tmp_path: Path, name: str, value: str, reason: str) -> None:
    (tmp_path / "passwords.json").write_text('{"admin": "secret"}')
    done = watched(tmp_path, **{name: value})
    assert (done.returncode, len(done.stderr.splitlines()), reason in done.stderr) == (78, 1, True)
    assert "secret" not in done.stderr


def test_watch_says_at_first_that_nothing_answers_and_fails_when_that_lasts(tmp_path: Path) -> None:
    first = watched(tmp_path / "none")
    assert (first.returncode, "the password of admin, is missing" in first.stdout) == (0, True)
    (tmp_path / "none" / "passwords.json").write_text('{"admin": "secret"}')
    last = watched(tmp_path / "none", BULKHEAD_PROGRESS_LIMIT_S="0.001")
    assert (last.returncode, "Airflow does not answer (URLError)" in last.stdout) == (1, True)


def test_messages_are_sent_with_the_standard_library_alone() -> None:
    program = "import sys; sys.path.insert(0, 'dags'); import operations.watch; print('airflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_watch_explains_itself_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    from operations.watch import main

    assert (main(["--help"]), main(["--twice"])) == (0, 64)
    out, err = capsys.readouterr()
    assert out == err
    assert "bin/airflow-watch [--once | --test]" in out
