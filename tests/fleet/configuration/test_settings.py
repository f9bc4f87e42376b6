from pathlib import Path

import pytest

from contract.errors import ConfigurationError
from fleet.configuration.settings import Settings

PROJECT = Path("/project")


def test_defaults_lie_in_the_project_wherever_the_command_is_called() -> None:
    settings = Settings.read({}, PROJECT)
    assert (settings.store, settings.root) == ("/project/store", Path("/project/var/fleet"))
    assert (settings.http_port, settings.grpc_port, settings.admin_port) == (8080, 8081, 0)


def test_environment_wins_over_defaults() -> None:
    settings = Settings.read(
        {"BULKHEAD_STORE": "file:///bundles", "BULKHEAD_VAR": "/state", "BULKHEAD_HTTP_PORT": "9000"}, PROJECT
    )
    assert (settings.store, settings.root, settings.http_port) == ("file:///bundles", Path("/state/fleet"), 9000)


@pytest.mark.parametrize("name", ["BULKHEAD_GRPC_PORT", "BULKHEAD_ADMIN_PORT"])
@pytest.mark.parametrize("port", ["", "http", "0", "65536", "-1"])
def test_port_is_named_when_it_is_none(port: str, name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Settings.read({name: port}, PROJECT)


@pytest.mark.parametrize(
    ("name", "port", "other"),
    [("BULKHEAD_HTTP_PORT", "8081", "BULKHEAD_GRPC_PORT"), ("BULKHEAD_STATUS_PORT", "8080", "BULKHEAD_HTTP_PORT")],
)
def test_port_is_refused_when_another_setting_has_it(name: str, port: str, other: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{port}; give each a port of its own") as caught:
        Settings.read({name: port}, PROJECT)
    assert {name, other} <= set(str(caught.value).split())


def test_empty_place_is_the_default() -> None:
    assert Settings.read({"BULKHEAD_STORE": "", "BULKHEAD_VAR": ""}).root == Settings.read({}).root
    assert Settings.read({"BULKHEAD_STORE": "", "BULKHEAD_VAR": ""}).store == Settings.read({}).store


@pytest.mark.parametrize("limit", ["", "soon", "0", "-1", "nan"])
def test_start_limit_is_named_when_it_is_no_time(limit: str) -> None:
    with pytest.raises(ConfigurationError, match="BULKHEAD_START_LIMIT_S"):
        Settings.read({"BULKHEAD_START_LIMIT_S": limit}, PROJECT)


def test_state_too_deep_for_a_socket_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="BULKHEAD_VAR"):
        Settings.read({"BULKHEAD_VAR": "/" + "x" * 80}, PROJECT)


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        (None, "/project/var/keys"),
        ("", "BULKHEAD_VERIFY_KEY is empty"),
        ("no/key.pem", "/project/no/key.pem: No such"),
    ],
)
def test_key_that_is_not_there_is_named_when_it_is_needed_and_not_before(named: str | None, problem: str) -> None:
    settings = Settings.read({} if named is None else {"BULKHEAD_VERIFY_KEY": named}, PROJECT)
    with pytest.raises(ConfigurationError, match=problem):
        settings.verify_keys()


def test_replicas_get_what_guards_and_watches_them_and_nothing_else() -> None:
    assert Settings.read({}, PROJECT).passed_on == {}
    environment = {
        "BULKHEAD_API_KEYS_FILE": "keys",
        "BULKHEAD_PREDICTION_LOG": "/logs",
        "BULKHEAD_PREDICTION_LOG_MB": "64",
        "BULKHEAD_CORS_ORIGINS": "https://app.example.org",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "ca.pem",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY": "/etc/key.pem",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    assert Settings.read(environment, PROJECT).passed_on == {
        "BULKHEAD_API_KEYS_FILE": "/project/keys",
        "BULKHEAD_PREDICTION_LOG": "/logs",
        "BULKHEAD_PREDICTION_LOG_MB": "64",
        "BULKHEAD_CORS_ORIGINS": "https://app.example.org",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "/project/ca.pem",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY": "/etc/key.pem",
    }
    with pytest.raises(ConfigurationError, match="which is not an origin"):
        Settings.read({"BULKHEAD_CORS_ORIGINS": "*"}, PROJECT)


@pytest.mark.parametrize(("project", "var"), [("/a:b", "var"), ("/project", "/a:b")])
def test_place_with_an_unsupported_character_is_refused(project: str, var: str) -> None:
    with pytest.raises(ConfigurationError, match=r"'/a:b.*' contains ':'"):
        Settings.read({"BULKHEAD_VAR": var}, Path(project))


@pytest.mark.parametrize("text", ["", "localhost", "10.0.0", "::1", "10.0.0.1:80"])
def test_host_is_an_address(text: str) -> None:
    with pytest.raises(ConfigurationError, match="BULKHEAD_HOST"):
        Settings.read({"BULKHEAD_HOST": text})
