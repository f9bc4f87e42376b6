"""The configuration for production in examples/airflow: secrets from files, users with roles, and no stored credential."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import PROJECT, interpreter, processes
from harness.ports import free_ports
from harness.waiting import until
from tests.dags.airflow_rest import Airflow
from tests.dags.machine import without_airflow

EXAMPLES = PROJECT / "examples" / "airflow"
PYTHON = interpreter("cluster")
SECRETS = {"jwt-secret": "j" * 64, "api-secret": "a" * 64, "fernet-key": base64.urlsafe_b64encode(b"f" * 32).decode()}
USERS = {"ada": "Op", "vic": "Viewer"}
# One process, since each start of Airflow takes seconds: it makes users, and prints settings as Airflow reads them.
SET_UP = """
import json, sys
from airflow.configuration import conf
from airflow.utils.db import initdb
initdb()
from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
with get_application_builder() as builder:
    for name, role in json.loads(sys.argv[1]).items():
        assert builder.sm.add_user(name, name, name, f"{name}@localhost", builder.sm.find_role(role), password=name * 3)
print()
print(json.dumps({key: conf.get(*key.split("/")) for key in json.loads(sys.argv[2])}))
"""
NAMED = {"api_auth/jwt_secret": "jwt-secret", "api/secret_key": "api-secret", "core/fernet_key": "fernet-key"}
READ = [*NAMED, "database/sql_alchemy_conn", "celery/broker_url"]

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="needs the environment `cluster` beside this one")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The example's, with the places of this test, and SQLite in place of a database server."""
    home = tmp_path_factory.mktemp("production")
    for name, secret in {**SECRETS, "database": f"sqlite:///{home}/airflow.db", "broker": "b", "results": "r"}.items():
        (home / name).write_text(secret)
    text = (EXAMPLES / "production.env").read_text()
    for named, place in (("/etc/bulkhead/airflow", home), ("/var/lib/airflow", home), ("/opt/bulkhead", PROJECT)):
        text = text.replace(named, str(place))
    lines = [line.split("=", 1) for line in text.splitlines() if not line.startswith("#")]
    return without_airflow() | dict(lines) | {"AIRFLOW__CORE__EXECUTOR": "LocalExecutor"}


@pytest.fixture(scope="module")
def settings(environment: dict[str, str]) -> dict[str, str]:
    """What Airflow reads, once its database has users."""
    command = [PYTHON, "-c", SET_UP, json.dumps(USERS), json.dumps(READ)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    read: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return read


@pytest.fixture(scope="module")
def airflow(environment: dict[str, str], settings: dict[str, str]) -> Iterator[Airflow]:
    program, home = PYTHON.with_name("airflow"), Path(environment["AIRFLOW_HOME"])
    (port,) = free_ports(1)
    command = [str(program), "api-server", "--host", "127.0.0.1", "--port", str(port)]
    # Its own address as the base: links and the login are checked against it.
    own = environment | {"AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}"}
    with processes.running(command, cwd=home, env=own, log=home / "api-server.log"):
        made = Airflow(f"http://127.0.0.1:{port}")

        def answers() -> bool:
            try:
                return bool(made.call("GET", "/api/v2/version"))
            except OSError:
                return False

        until(answers, "the API server", limit_s=300)
        yield made


def status_of(airflow: Airflow, method: str, path: str, body: dict[str, Any] | None = None) -> int:
    try:
        airflow.call(method, path, body)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def test_secrets_come_from_files(settings: dict[str, str]) -> None:
    assert {name: settings[name] for name in NAMED} == {name: SECRETS[file] for name, file in NAMED.items()}
    assert settings["database/sql_alchemy_conn"].startswith("sqlite:///")
    assert settings["celery/broker_url"] == "b"


def test_viewer_sees_but_does_not_trigger(airflow: Airflow) -> None:
    run = "/api/v2/dags/train_and_evaluate/dagRuns"
    assert status_of(airflow, "GET", "/api/v2/dags") == 401
    found = {}
    for user in USERS:
        airflow.log_in(user, user * 3)
        found[user] = [
            status_of(airflow, "GET", "/api/v2/dags"),
            status_of(airflow, "POST", run, {"logical_date": None}),
        ]
    # No DAG has been read into this database: 404 is for those that may trigger it.
    assert found == {"ada": [200, 404], "vic": [200, 403]}


def check(*arguments: str | Path, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [PYTHON, EXAMPLES / "check.py", *arguments]
    given = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | environment
    return subprocess.run(command, input=stdin, env=given, capture_output=True, text=True, check=False)


def test_stored_connection_is_rejected_unless_it_is_allowed() -> None:
    stored = json.dumps({"store": {"conn_type": "aws", "password": "s3cr3t"}})
    assert check("connections", stdin="{}").returncode == 0
    done = check("connections", stdin=stored)
    assert (done.returncode, len(done.stderr.splitlines())) == (65, 1)
    assert "connection 'store'" in done.stderr
    assert "s3cr3t" not in done.stderr
    assert check("connections", "--allow", "store", stdin=stored).returncode == 0
    assert "connection 'fleet'" in check("connections", stdin="{}", AIRFLOW_CONN_FLEET="http://x").stderr


def test_values_are_checked_against_a_charts_schema(tmp_path: Path) -> None:
    names = yaml.safe_load((EXAMPLES / "values.yaml").read_text())
    schema = {"properties": {**{name: {} for name in names}, "executor": {"type": "integer"}}}
    del schema["properties"]["workers"]
    (tmp_path / "values.schema.json").write_text(json.dumps(schema))
    done = check("values", tmp_path)
    assert done.returncode == 65
    assert sorted(line.split(":")[0] for line in done.stderr.splitlines()) == ["executor", "workers"]


@pytest.mark.parametrize(
    ("words", "reason"), [(("connections",), "no JSON"), (("values", "nowhere"), "nowhere/values")]
)
def test_check_that_cannot_be_done_is_one_line(words: tuple[str, ...], reason: str) -> None:
    done = check(*words, stdin="none")
    assert (done.returncode, len(done.stderr.splitlines()), reason in done.stderr) == (1, 1, True)


def test_no_secret_stands_in_the_example() -> None:
    for name in ("production.env", "values.yaml"):
        text = (EXAMPLES / name).read_text()
        assert not re.search(r"(?i)(password|secret_key|fernet_key|jwt_secret)\s*[=:]\s*[^\s{]", text), name
