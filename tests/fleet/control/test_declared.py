"""`fleet.yaml` as people and verbs edit it, on a real fleet."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet.configuration import declaration
from fleet.configuration.settings import Settings
from fleet.configuration.state import Bounds
from harness.waiting import until
from tests.fleet.conftest import FleetCommand

REMARK = b"# night shift, ask Ada\n"


def test_edit_of_a_person_is_applied_without_a_command_and_no_request_fails(fleet: FleetCommand) -> None:
    first, second = fleet.bundles.first, fleet.bundles.second
    fleet.serve(first, size=1)
    with fleet.under_load(pause_s=0.02) as load:
        write(fleet, REMARK + f"replicas: 2\ncanary: {{bundle: {second[:12]}, weight: 20}}\n".encode())
        until(lambda: status(fleet)["size"] == 2 and status(fleet)["ready"], "the reconciler to apply the edit")
        assert status(fleet)["canary"]["percent"] == 20
        fleet("rollback", "--why", "enough seen")
    load.check(first, second)
    assert text(fleet).startswith(REMARK)
    assert b"canary: null" in text(fleet)
    told = history(fleet)
    assert [entry["verb"] for entry in told[-2:]] == ["apply", "rollback"]
    assert [entry["verdict"] for entry in told[-2:]] == ["done", "done"]
    assert told[-2]["evidence"]["size"] == [1, 2]
    assert "fleet.yaml was edited" in told[-2]["why"]
    assert (told[-1]["why"], told[-1]["bundle"]) == ("enough seen", second)


def test_edit_that_is_refused_changes_nothing_and_is_reported_once(fleet: FleetCommand) -> None:
    before = fleet.serve(fleet.bundles.first, size=1)
    good = text(fleet)
    processes = fleet.processes()
    wrong = REMARK + b"replicas: {min: 3, max: 2}\n"
    write(fleet, wrong)
    until(lambda: history(fleet)[-1]["verdict"].startswith("refused: "), "the reconciler to refuse it")
    told = status(fleet)
    assert (told["ready"], told["replicas"]) == (False, before["replicas"])
    assert "min must not be above max" in told["problems"][0]
    write(fleet, wrong + b"# saved again\n")
    # Once it has been looked at again the fleet is as before, and the history has no second line.
    write(fleet, good)
    until(lambda: fleet.run("status").returncode == 0, "the refusal to be forgotten")
    assert sum("min must not" in entry["verdict"] for entry in history(fleet)) == 1
    assert status(fleet) == before
    assert fleet.processes() == processes


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (b"replica: 2\n", "no key replica"),
        (b"replicas: {min: 3, max: 2}\n", "min must not be above max"),
        (b"canary: {bundle: aaaaaaaa, weight: 101}\n", "canary.weight is 101"),
        (b"canary: {bundle: aaaaaaaa, weight: 10}\n", "0 bundles in the store"),
        (b"replicas: [\n", "not YAML"),
    ],
    ids=["unknown key", "bounds", "weight", "target", "no YAML"],
)
def test_commands_refuse_a_wrong_file_in_one_line_and_change_nothing(
    fleet: FleetCommand, wrong: bytes, reason: str
) -> None:
    before = fleet.serve(fleet.bundles.first, size=1)
    good, processes = text(fleet), fleet.processes()
    write(fleet, wrong)
    for command in (["up"], ["scale", "2"], ["deploy", fleet.bundles.second, "--canary", "5"]):
        # A canary that is declared wrongly is replaced by that of the command.
        if reason == "0 bundles in the store" and command[0] == "deploy":
            continue
        refused = fleet.run(*command)
        message = json.loads(refused.stdout)["error"]["message"]
        assert (refused.returncode, reason in message, "\n" in message) == (78, True, False), refused.stdout
        assert text(fleet) == wrong
    write(fleet, good)
    until(lambda: fleet.run("status").returncode == 0, "the refusal to be forgotten")
    assert status(fleet) == before
    assert fleet.processes() == processes


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["scale", "0"], "replicas is 0"),
        (["scale", "4", "2"], "min must not be above max"),
        (["deploy", "SECOND", "--canary", "101"], "canary.weight is 101"),
        (["deploy", "FIRST", "--canary", "5"], "is already live"),
        (["deploy", "FIRST", "--shadow"], "is already live"),
        (["promote"], "no canary to promote"),
    ],
    ids=" ".join,
)
def test_command_that_is_refused_leaves_file_and_fleet_as_they_were(
    fleet: FleetCommand, command: list[str], reason: str
) -> None:
    before = fleet.serve(fleet.bundles.first, size=1)
    good = text(fleet)
    names = {"FIRST": fleet.bundles.first, "SECOND": fleet.bundles.second}
    refused = fleet.run(*(names.get(word, word) for word in command))
    message = json.loads(refused.stdout)["error"]["message"]
    assert (refused.returncode, reason in message, "\n" in message) == (78, True, False), refused.stdout
    assert (text(fleet), status(fleet)) == (good, before)


def test_bounds_are_declared_and_the_size_stays_between_them(fleet: FleetCommand) -> None:
    fleet.serve(fleet.bundles.first, size=1)
    assert fleet("scale", "2", "3")["size"] == 2
    assert read(fleet).replicas == Bounds(2, 3)
    assert fleet("scale", "1")["size"] == 1


def test_file_is_written_again_when_it_is_gone_and_up_keeps_what_served_when_it_is_nonsense(
    fleet: FleetCommand,
) -> None:
    before = fleet.serve(fleet.bundles.first, size=1)
    place(fleet).unlink()
    until(place(fleet).exists, "the reconciler to write the file")
    assert read(fleet).replicas == 1
    good = text(fleet)
    fleet.run("down")
    write(fleet, b"replicas: nonsense\n")
    assert fleet.run("up").returncode == 78
    assert fleet.processes() == set()
    assert fleet.run("up", "--keep").returncode == 0
    assert [entry["digest"] for entry in status(fleet)["replicas"]] == [fleet.bundles.first]
    write(fleet, good)
    until(lambda: fleet.run("status").returncode == 0, "the reconciler to read the file")
    assert status(fleet)["live"] == before["live"]


def place(fleet: FleetCommand) -> Any:
    return Settings.read(fleet.environment).declaration


def text(fleet: FleetCommand) -> bytes:
    content: bytes = place(fleet).read_bytes()
    return content


def write(fleet: FleetCommand, content: bytes) -> None:
    place(fleet).write_bytes(content)


def read(fleet: FleetCommand) -> declaration.Declaration:
    return declaration.parse(text(fleet), place(fleet))


def status(fleet: FleetCommand) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(fleet.run("status").stdout)
    return found


def history(fleet: FleetCommand) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(fleet.run("history").stdout)
    return found
