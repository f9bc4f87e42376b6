"""The fleet as its users see it: the real command, Envoy, supervisord and replicas, under load where requests could be lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contract.files import canonical_json
from contract.store.store import Store
from fleet.__main__ import describe
from fleet.configuration.edit import Edit
from fleet.configuration.settings import Settings
from fleet.control.fleet import Fleet
from fleet.supervisor import replicas
from fleet.supervisor.processes import send
from fleet.supervisor.unix_http import answers
from harness import PROJECT, interpreter
from harness.ports import free_ports
from harness.waiting import until
from tests.fleet.conftest import KEY, FleetCommand, changed, listening
from tests.fleet.crowds import overload
from tests.fleet.crowds.load import ask

SMOKE = [str(interpreter("serving")), str(PROJECT / "bin" / "smoke")]


def test_requests_are_refused_with_a_reason_while_nothing_is_live(new_fleet: FleetCommand) -> None:
    fleet = new_fleet
    status = fleet("up", "--size", "2")
    assert (status["live"], status["replicas"], status["ready"]) == (None, [], False)
    assert "problem" not in describe(status)  # to a person who has just started it
    code, answer = ask(fleet.http_port, body=fleet.golden_request())
    assert (code, answer["error"]["code"]) == (503, "unavailable")
    assert "fleet deploy" in answer["error"]["message"]
    assert ask(fleet.http_port, "/v2/health/ready") == (503, {"error": answer["error"]["message"]})
    assert overload.retry_after(fleet.http_port, fleet.golden_request()) == "1"
    assert fleet.run("status").returncode == 75


def test_deployed_bundle_gives_its_golden_answers_over_http_and_grpc(fleet: FleetCommand) -> None:
    status = fleet.serve(fleet.bundles.first, size=2)
    assert status["ready"]
    assert [entry["digest"] for entry in status["replicas"]] == [fleet.bundles.first] * 2
    asked = subprocess.run(SMOKE, env=fleet.environment, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stdout + asked.stderr


def test_no_work_is_done_when_up_is_repeated(fleet: FleetCommand) -> None:
    before = fleet.serve(fleet.bundles.first, size=2)
    processes = fleet.processes()
    assert fleet("up") == before
    assert fleet("deploy", fleet.bundles.first) == before
    assert fleet.processes() == processes


def test_up_starts_the_reconciler_and_the_page_again_when_their_code_has_changed(fleet: FleetCommand) -> None:
    before = fleet.serve(fleet.bundles.first, size=1)
    old = {name: set(fleet.pids(name)) for name in ("reconciler", "page")}
    for name in old:  # as if they had been started by a version of before
        path = fleet.root / "fleet" / "programs" / f"{name}.conf"
        path.write_text(
            re.sub('BULKHEAD_CODE_DIGEST="[0-9a-f]{16}"', 'BULKHEAD_CODE_DIGEST="before"', path.read_text())
        )
    assert fleet("up")["replicas"] == before["replicas"]
    for name, pids in old.items():
        until(
            lambda name=name, pids=pids: bool(fleet.pids(name)) and not set(fleet.pids(name)) & pids, f"another {name}"
        )


def test_no_request_fails_when_another_bundle_is_deployed_and_rolled_back(fleet: FleetCommand) -> None:
    first, second = fleet.bundles.first, fleet.bundles.second
    fleet.serve(first, size=2)
    with fleet.under_load() as load:
        assert fleet("deploy", second)["live"]["digest"] == second
        assert ask(fleet.http_port, body=fleet.golden_request())[1]["model"]["version"] == second
        rolled_back = fleet("rollback")
        assert (rolled_back["live"]["digest"], rolled_back["live"]["by"]) == (first, "fleet rollback")
        time.sleep(0.5)
    load.check(first, second)
    assert [entry["digest"] for entry in rolled_back["replicas"]] == [first] * 2


def test_no_request_fails_when_the_fleet_is_scaled_up_and_down(fleet: FleetCommand) -> None:
    fleet.serve(fleet.bundles.first, size=1)
    with fleet.under_load() as load:
        sizes = [len(fleet("scale", str(size))["replicas"]) for size in (3, 1)]
    assert sizes == [3, 1]
    load.check(fleet.bundles.first)


def test_no_request_fails_and_replica_returns_when_it_is_killed(fleet: FleetCommand) -> None:
    before = fleet.serve(fleet.bundles.first, size=2)["replicas"][0]
    with fleet.under_load() as load:
        os.kill(before["pid"], signal.SIGKILL)
        until(lambda: fleet.run("status").returncode == 0 and _first(fleet)["pid"] != before["pid"], "a new process")
        assert answers(before["http_socket"], "/readyz", limit_s=5)
        time.sleep(0.5)
    load.check(fleet.bundles.first)


def test_no_request_fails_when_a_replica_freezes_and_it_is_replaced(fleet: FleetCommand) -> None:
    frozen = fleet.serve(fleet.bundles.first, size=2)["replicas"][0]["pid"]
    with fleet.under_load() as load, _stopped([-frozen]):
        until(lambda: _first(fleet)["pid"] != frozen and fleet.run("status").returncode == 0, "another in its place")
        time.sleep(0.5)
    load.check(fleet.bundles.first)


def test_what_the_replicas_have_no_time_for_is_refused_by_envoy_and_the_rest_is_answered(fleet: FleetCommand) -> None:
    frozen = [-fleet.serve(fleet.bundles.first, size=1)["replicas"][0]["pid"], *fleet.pids("reconciler")]
    with overload.crowd(fleet.http_port, fleet.grpc_port, fleet.bundles.source, count=800) as crowd:
        with _stopped(frozen):
            crowd.ask()
            crowd.wait_for_refusals(100)
        http, grpc = crowd.outcomes()
    # The replica has 128 and Envoy 128, and a little more as its threads count at once.
    assert set(http) == {"200", "503 overloaded, Retry-After: 1"}
    assert set(grpc) == {"OK", "RESOURCE_EXHAUSTED"}
    for outcomes in (http, grpc):
        assert sum(outcomes.values()) == 800
    until(lambda: fleet.run("status").returncode == 0, "all replicas to be ready")
    assert ask(fleet.http_port, body=fleet.golden_request())[0] == 200


def test_canary_gets_its_share_and_is_promoted_or_taken_away(fleet: FleetCommand) -> None:
    first, second = fleet.bundles.first, fleet.bundles.second
    fleet.serve(first, size=2)
    with fleet.under_load() as load:
        canary = fleet("deploy", second, "--canary", "30")["canary"]
        assert (canary["digest"], canary["percent"]) == (second, 30)
        answers = Counter(ask(fleet.http_port, body=fleet.golden_request())[1]["model"]["version"] for _ in range(400))
        # 400 draws at .3: five standard deviations are 46.
        assert 74 <= answers[second] <= 166
        assert fleet("rollback")["live"]["digest"] == first
        fleet("deploy", second, "--canary", "30")
        promoted = fleet("promote")
    load.check(first, second)
    assert (promoted["live"]["digest"], promoted["canary"]) == (second, None)
    assert [entry["digest"] for entry in promoted["replicas"]] == [second] * 2
    assert fleet.run("promote").returncode == 78


def test_bundle_that_breaks_callers_is_refused_until_a_person_says_that_it_may(
    fleet: FleetCommand, tmp_path: Path
) -> None:
    first = fleet.bundles.first
    breaking = fleet.store.put(changed(fleet.bundles.source, tmp_path / "breaking", _in_kilometres))
    before = fleet.serve(first, size=1)
    refused = [fleet.run("deploy", breaking, *canary) for canary in ((), ("--canary", "10"))]
    assert [done.returncode for done in refused] == [78, 78]
    for done in refused:
        assert "field 'distance': unit: mi before, km now" in json.loads(done.stdout)["error"]["message"]
    assert fleet("status") == before
    assert fleet("deploy", breaking, "--canary", "10", "--breaking")["canary"]["digest"] == breaking
    assert fleet.run("promote").returncode == 78
    assert fleet("promote", "--breaking")["live"]["digest"] == breaking
    assert fleet("rollback")["live"]["digest"] == first  # the way back is always open


def test_no_request_fails_when_the_only_replica_of_a_canary_dies_and_its_errors_are_counted(
    fleet: FleetCommand,
) -> None:
    first, second = fleet.bundles.first, fleet.bundles.second
    fleet.serve(first, size=2)
    with fleet.under_load(pause_s=0.02) as load:
        fleet("deploy", second, "--canary", "40")
        (replica,) = [each for each in fleet("status")["replicas"] if each["digest"] == second]
        until(lambda: load.answers[second] > 20, "the canary to answer")
        for _ in range(3):
            killed = fleet.pids(replica["name"])
            send(killed, signal.SIGKILL)
            until(lambda old=killed: fleet.pids(replica["name"]) not in ([], old), "it to be started again")
        until(lambda: fleet.run("status").returncode == 0, "it to return")
        served = fleet("status")["canary"]["served"]
        fleet("rollback")
    load.check(first, second)
    assert served["canary"]["errors"] > 0 == served["live"]["errors"]
    assert served["live"]["requests"] > 0


def test_nothing_is_left_behind_when_a_deployment_is_killed(fleet: FleetCommand) -> None:
    before = fleet.serve(fleet.bundles.first, size=1)
    processes = fleet.processes()
    command = [sys.executable, "-m", "fleet", "deploy", fleet.bundles.second]
    with subprocess.Popen(command, cwd=PROJECT, env=fleet.environment, stderr=subprocess.PIPE) as deployment:
        assert deployment.stderr is not None
        until(lambda: fleet.processes() > processes, "it to start replicas")
        deployment.kill()
    assert fleet.processes() > processes
    assert fleet("up") == before
    until(lambda: fleet.processes() == processes, "the replicas that it started to end")


def test_fleet_is_not_ready_when_a_command_is_cut_short_before_envoy_routes_as_it_wanted(fleet: FleetCommand) -> None:
    fleet.serve(fleet.bundles.first, size=1)
    fleet("deploy", fleet.bundles.second, "--canary", "10")
    state = fleet.root / "fleet" / "state.json"
    with _stopped(fleet.pids("reconciler")):
        state.write_text(state.read_text().replace('"percent": 10', '"percent": 20'))
        done = fleet.run("status")
        assert (done.returncode, "stale" in done.stdout) == (75, True)
    until(lambda: fleet.run("status").returncode == 0, "the reconciler to make it so")
    fleet("rollback")


def test_no_request_fails_when_supervisord_is_killed_and_up_repairs_it(fleet: FleetCommand) -> None:
    before = fleet.serve(fleet.bundles.first, size=2)
    supervisord = int((fleet.root / "fleet" / "supervisord.pid").read_text())
    repairers = [*fleet.pids("reconciler"), *fleet.pids(f"guard-{supervisord}")]
    with _stopped(repairers), fleet.under_load(pause_s=0.02) as load:
        os.kill(supervisord, signal.SIGKILL)
        until(lambda: fleet.run("status").returncode == 75, "status to see it")
        told = json.loads(fleet.run("status").stdout)
        assert (told["running"], "supervisord does not run" in told["problems"][0]) == (False, True)
        assert fleet.run("scale", "2").returncode == 75
        after = fleet("up")
    load.check(fleet.bundles.first)
    assert after["ready"]
    assert not {each["pid"] for each in after["replicas"]} & {each["pid"] for each in before["replicas"]}
    until(lambda: len(fleet.started()) == 7, "the reconciler of before to end")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_nobody_is_needed_when_supervisord_is(fleet: FleetCommand, number: int) -> None:
    fleet.serve(fleet.bundles.first, size=1)
    path = fleet.root / "fleet" / "supervisord.pid"
    before = path.read_text()
    with fleet.under_load(pause_s=0.02) as load:
        os.kill(int(before), number)
        until(lambda: path.read_text() not in ("", before), "the reconciler to start another", limit_s=120)
        until(lambda: fleet.run("status").returncode == 0, "all to be ready", limit_s=120)
    load.check(fleet.bundles.first)
    until(lambda: len(fleet.started()) == 6, "the reconciler of before and its `fleet up` to end")


def test_up_replaces_what_hangs_when_the_reconciler_does_too(fleet: FleetCommand) -> None:
    before = fleet.serve(fleet.bundles.first, size=2)
    frozen = [before["replicas"][0]["pid"], *fleet.envoy()]
    with _stopped([*frozen, *fleet.pids("reconciler")]):
        until(lambda: "the reconciler does not run" in fleet.run("status").stdout, "status to see it")
        assert "Envoy does not answer" in fleet.run("status").stdout
        after = fleet("up")
    assert after["ready"]
    assert not {each["pid"] for each in after["replicas"]} & {-frozen[0]}


def test_envoy_is_started_again_when_it_hangs(fleet: FleetCommand) -> None:
    fleet.serve(fleet.bundles.first, size=1)
    with _stopped(frozen := fleet.envoy()):
        until(lambda: not {*frozen} & {*fleet.envoy()}, "the reconciler to replace them")
        until(lambda: fleet.run("status").returncode == 0, "all to be ready")
    assert ask(fleet.http_port, body=fleet.golden_request())[0] == 200


@pytest.mark.parametrize("command", [["up"], ["scale", "2"], ["rollback"], ["down", "up"]], ids=" ".join)
def test_nothing_changes_when_the_store_says_nothing(fleet: FleetCommand, command: list[str], tmp_path: Path) -> None:
    before = fleet.serve(fleet.bundles.first, size=1)
    if command[0] == "down":
        assert fleet.run(command.pop(0), BULKHEAD_STORE=str(tmp_path)).returncode == 0
    left = fleet.processes()
    for store in (tmp_path, tmp_path / "moved-away"):
        refused = fleet.run(*command, BULKHEAD_STORE=str(store))
        assert refused.returncode == 78
        assert f"the store {store} names no live bundle" in refused.stderr
        assert "BULKHEAD_STORE" in refused.stderr
        assert fleet.processes() == left
        told = fleet.run("status", BULKHEAD_STORE=str(store))
        assert (told.returncode, str(store) in told.stdout) == (75, True)
    if left:
        assert fleet("status") == before


def test_live_bundle_of_the_store_is_served_when_another_fleet_moved_it(fleet: FleetCommand) -> None:
    first, second = fleet.bundles.first, fleet.bundles.second
    fleet.serve(first, size=1)
    with _stopped(fleet.pids("reconciler")):
        fleet.store.move("live", second, expected=fleet.store.read("live"), by="another fleet")
        told = fleet.run("status")
        assert (told.returncode, json.loads(told.stdout)["ready"]) == (75, False)
        assert f"live is {second[:12]}, but {first[:12]} is served" in told.stdout
    until(lambda: fleet.run("status").returncode == 0, "the reconciler to change to it")
    assert [entry["digest"] for entry in fleet("status")["replicas"]] == [second]


def test_judge_needs_no_store_to_change_a_canarys_share_and_to_roll_it_back(
    fleet: FleetCommand, tmp_path: Path
) -> None:
    first, second = fleet.bundles.first, fleet.bundles.second
    fleet.serve(first, size=1)
    fleet("deploy", second, "--canary", "10")
    away = Fleet(Settings.read(fleet.environment | {"BULKHEAD_STORE": str(tmp_path / "away")}), print)
    away.apply(Edit("weight", "judge", "as good as the live one", value=25, bundle=second))
    assert fleet("status")["canary"]["percent"] == 25
    away.apply(Edit("rollback", "judge", "more errors", bundle=second))
    status = fleet("status")
    assert (status["live"]["digest"], status["canary"], status["declared"]["canary"]) == (first, None, None)


def test_no_process_is_left_when_the_fleet_goes_down(fleet: FleetCommand) -> None:
    before = fleet.serve(fleet.bundles.first, size=2)
    assert len(fleet.started()) == 7  # supervisord, the reconciler, the page, two Envoys' shells, and two replicas
    words = Path(f"/proc/{fleet.envoy()[0]}/cmdline").read_text().split("\0")
    memory = Path(f"/dev/shm/envoy_shared_memory_{words[words.index('--base-id') + 1]}0")
    assert memory.exists()
    assert not fleet("down")["running"]
    assert fleet.processes() == set()
    assert not memory.exists()
    assert fleet.run("deploy", fleet.bundles.first).returncode == 75
    after = fleet("up")
    assert (after["live"], after["size"], after["ready"]) == (before["live"], 2, True)


def test_no_caller_is_led_to_the_replica_of_another_fleet(
    fleet: FleetCommand, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """They have the same settings for their replicas, and serve other bundles."""
    first, second = fleet.bundles.first, fleet.bundles.second
    fleet.serve(first, size=2)
    store = Store(str(tmp_path_factory.mktemp("store")), private_key=KEY)
    store.put(fleet.bundles.source)
    shutil.copytree(Path(fleet.store.location) / "bundles" / second, Path(store.location) / "bundles" / second)
    http_port, grpc_port = free_ports(2)
    root = tmp_path_factory.mktemp("other")
    other = replace(fleet, store=store, root=root, http_port=http_port, grpc_port=grpc_port)
    try:
        other.serve(second, size=2)
        with fleet.under_load() as load, other.under_load() as others:
            for each in (fleet, other):
                name = _first(each)["name"]
                killed = each.pids(name)
                send(killed, signal.SIGKILL)
                until(lambda each=each, name=name, old=killed: each.pids(name) not in ([], old), "a start")
                until(lambda each=each: each.run("status").returncode == 0, "the replica to return")
    finally:
        other.run("down")
    load.check(first)
    others.check(second)


def test_port_is_passed_over_when_somebody_takes_it_while_a_replica_starts(
    fleet: FleetCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.serve(fleet.bundles.first, size=1)
    found, told = [True], []
    is_free = replicas.is_free
    monkeypatch.setattr(replicas, "is_free", lambda port: found.pop() if found else is_free(port))
    with listening() as port:
        settings = Settings.read(fleet.environment | {"BULKHEAD_REPLICA_PORT": str(port)})
        Fleet(settings, told.append).scale(2)
    assert f"cannot listen on 127.0.0.1:{port}" in "".join(told)
    assert fleet("status")["replicas"][1]["admin_port"] > port


def test_wrong_setting_is_no_fault_of_the_bundle(fleet: FleetCommand, tmp_path: Path) -> None:
    before = fleet.serve(fleet.bundles.first, size=1)
    refused = fleet.run("scale", "2", BULKHEAD_API_KEYS_FILE=str(tmp_path / "missing"))
    assert (refused.returncode, "missing" in refused.stderr) == (78, True), refused.stderr
    assert fleet("status") == before


def test_reason_is_given_when_the_port_is_taken(fleet: FleetCommand, tmp_path: Path) -> None:
    with listening() as port:
        other = replace(fleet, root=tmp_path, http_port=port)
        refused = other.run("up")
        other.run("down")
    assert refused.returncode == 78
    assert f"port {port} is in use" in refused.stderr
    assert "BULKHEAD_HTTP_PORT" in refused.stderr


def _first(fleet: FleetCommand) -> dict[str, Any]:
    replica: dict[str, Any] = json.loads(fleet.run("status").stdout)["replicas"][0]
    return replica


@contextmanager
def _stopped(processes: list[int]) -> Iterator[None]:
    """Freeze processes, or process groups by negative numbers: a replica is one, its sandbox included."""
    send(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        send(processes, signal.SIGCONT)


def _in_kilometres(artifact: Path) -> None:
    schema = json.loads((artifact / "schema.json").read_bytes())
    (distance,) = (field for field in schema["fields"] if field["name"] == "distance")
    distance["unit"] = "km"
    (artifact / "schema.json").write_bytes(canonical_json(schema))
