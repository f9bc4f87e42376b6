"""`fleet.yaml` as people and verbs edit it, on a real fleet."""

from __future__ import annotations

import json
from typing import Any

from fleet.configuration import declaration
from fleet.configuration.settings import Settings
from fleet.configuration.state import Bounds
from harness.waiting import until
from tests.fleet.conftest import FleetCommand, parsed

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


def test_commands_refuse_a_wrong_file_in_one_line_and_change_nothing(fleet: FleetCommand) -> None:
    before = fleet.serve(fleet.bundles.first, size=1)
    good, processes = text(fleet), fleet.processes()
    for wrong, command, reason in (
        (b"replica: 2\n", ["up"], "no key replica"),
        (b"replicas: {min: 3, max: 2}\n", ["scale", "2"], "min must not be above max"),
        (b"canary: {bundle: aaaaaaaa, weight: 101}\n", ["deploy", fleet.bundles.second], "canary.weight is 101"),
        (b"canary: {bundle: aaaaaaaa, weight: 10}\n", ["up"], "0 bundles in the store"),
        (b"replicas: [\n", ["deploy", fleet.bundles.second, "--canary", "5"], "not YAML"),
    ):
        write(fleet, wrong)
        refuse(fleet, command, reason)
        assert text(fleet) == wrong
    write(fleet, good)
    until(lambda: fleet.run("status").returncode == 0, "the refusal to be forgotten")
    assert status(fleet) == before
    assert fleet.processes() == processes


def test_nothing_is_started_when_a_bundle_is_declared_that_the_store_lacks(new_fleet: FleetCommand) -> None:
    path = Settings.read(new_fleet.environment).declaration
    path.parent.mkdir(parents=True)
    path.write_text("shadow: 0123abcd\n")
    done = new_fleet.run("up")
    assert (done.returncode, "digest that begins with 0123abcd" in done.stderr) == (78, True)
    assert not new_fleet.processes()


def test_command_that_is_refused_leaves_file_and_fleet_as_they_were(fleet: FleetCommand) -> None:
    before = fleet.serve(fleet.bundles.first, size=1)
    good = text(fleet)
    for command, reason in (
        (["deploy", fleet.bundles.first, "--canary", "5"], "is already live"),
        (["deploy", fleet.bundles.first, "--shadow"], "is already live"),
        (["promote"], "no canary to promote"),
    ):
        refuse(fleet, command, reason)
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


def refuse(fleet: FleetCommand, command: list[str], reason: str) -> None:
    refused = fleet.run(*command)
    message = json.loads(refused.stdout)["error"]["message"]
    assert (refused.returncode, reason in message, "\n" in message) == (78, True, False), refused.stdout


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
    return parsed(fleet.run("status").stdout)


def history(fleet: FleetCommand) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(fleet.run("history").stdout)
    return found
