"""The status page, `fleet status --watch` and `fleet costs` of a real fleet with a canary."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from contract.store.store import Store
from fleet.configuration import history
from fleet.configuration.settings import Settings
from fleet.monitoring import exporter
from fleet.monitoring.costs import ledger
from fleet.monitoring.observer import Observer
from harness import PROJECT
from harness.ports import free_ports
from harness.waiting import until
from tests.fleet.conftest import KEY, Bundles, FleetCommand, listening
from tests.fleet.monitoring.test_exporter import samples
from tests.fleet.monitoring.test_page import NEEDS_BROWSER, shown_as_is

REQUESTS = 40


@pytest.fixture(scope="module")
def watched(bundles: Bundles, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetCommand]:
    """A fleet with a canary, whose page's port was taken while it started."""
    directory = tmp_path_factory.mktemp("watched")
    own = Store(str(directory / "store"), private_key=KEY)
    own.put(bundles.source)
    own.put(store.path(bundles.second))
    http_port, grpc_port = free_ports(2)
    with listening() as taken:
        fleet = FleetCommand(own, directory / "var", http_port, grpc_port, bundles, status_port=taken)
        fleet.serve(bundles.first, 1)
    fleet("deploy", bundles.second, "--canary", "50")
    until(lambda: answers(fleet), "the page to be served once its port is free")
    yield fleet
    fleet.run("down")


def answers(fleet: FleetCommand) -> bool:
    try:
        return bool(seen(fleet)["at"])
    except OSError:
        return False


def seen(fleet: FleetCommand) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{fleet.status_port}/status.json", timeout=60) as response:
        found: dict[str, Any] = json.load(response)
    return found


def predict(fleet: FleetCommand) -> None:
    for _ in range(REQUESTS):
        request = urllib.request.Request(
            f"http://127.0.0.1:{fleet.http_port}/predict",
            fleet.golden_request().encode(),
            {"content-type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=60).close()


def test_status_has_versions_replicas_traffic_deployments_and_costs(watched: FleetCommand) -> None:
    def is_measured() -> bool:
        # Again and again, since requests before a replica's first reading are in no rate.
        predict(watched)
        found = seen(watched)
        rates = [each["requests_per_s"] for each in (found["traffic"]["now"], *found["versions"])]
        return all(rates) and found["costs"]["total"]["predictions"] > 0

    until(is_measured, "requests of both bundles to be counted", limit_s=120)
    found = seen(watched)
    assert found["status"]["ready"], found["status"]["problems"]
    bundles = watched.bundles
    versions = [
        (each["role"], each["digest"], each["percent"], each["ready"], each["replicas"]) for each in found["versions"]
    ]
    assert versions == [("live", bundles.first, 50, 1, 1), ("canary", bundles.second, 50, 1, 1)]
    assert all(each["at"] for each in found["versions"])
    assert found["traffic"]["now"]["p99_s"] > 0
    for each in found["status"]["replicas"]:
        assert each["pid"] in watched.pids(each["name"])
        assert each["restarts"] == 0
    assert [entry["verb"] for entry in found["history"][:2]] == ["canary", "deploy"]
    # A replica may count a request for a moment after its answer was read.
    until(lambda: all(each["in_flight"] == 0 for each in seen(watched)["status"]["replicas"]), "requests to end")
    total = found["costs"]["total"]
    assert total["money"] > total["idle"] >= 0
    assert set(total["cpu_s"]) == {"replicas", "envoy", "control", "total"}
    assert total["money_per_million"] == pytest.approx(total["money"] / total["predictions"] * 1e6)


def test_metrics_of_a_real_fleet_are_those_of_its_status(watched: FleetCommand) -> None:
    found = scraped(watched)
    assert (found["ready{}"], found["problems{}"], found["reconciler_up{}"], found["reconciler_failing{}"]) == (
        1,
        0,
        1,
        0,
    )
    assert found['replicas_ready{role="canary"}'] == found['replicas{role="live"}'] == 1
    assert found['canary_weight_percent{judge="manual"}'] == 50
    until(lambda: 'canary_start_time_seconds{judge="manual"}' in scraped(watched), "the judge to write its evidence")
    names = [each["name"] for each in seen(watched)["status"]["replicas"]]
    assert all(found[f'replica_start_time_seconds{{replica="{name}"}}'] > 1.7e9 for name in names)
    assert any(name.startswith('last_change_timestamp_seconds{verb="canary"') for name in found)
    assert found["predictions_total{}"] > 0


def scraped(fleet: FleetCommand) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{fleet.status_port}/metrics", timeout=60) as response:
        assert response.headers["Content-Type"] == exporter.TYPE
        return samples(response.read().decode())


def test_ledger_goes_on_after_the_page_was_killed(watched: FleetCommand) -> None:
    path = watched.root / "fleet" / ledger.FILE_NAME
    until(path.is_file, "the ledger to begin")
    before = seen(watched)["costs"]["total"]
    os.kill(watched.pids("page")[0], signal.SIGKILL)
    until(lambda: answers(watched), "supervisord to restart the page")
    # What was not written yet is measured again from the counters of the last line.
    until(lambda: seen(watched)["costs"]["total"]["predictions"] >= before["predictions"], "the ledger to go on")
    assert seen(watched)["costs"]["total"]["replica_s"] > 0
    assert json.loads(watched.run("costs").stdout)["total"]["predictions"] >= before["predictions"]


@NEEDS_BROWSER
def test_page_of_a_fleet_in_a_browser_names_both_bundles(watched: FleetCommand, tmp_path: Path) -> None:
    page = shown_as_is(watched.status_port, tmp_path)
    for text in (watched.bundles.first[:12], watched.bundles.second[:12], ">canary<", "ready", "80 USD"):
        assert text in page, text
    assert "cannot be shown" not in page


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGCONT)


def test_page_answers_while_envoy_and_a_replica_hang(watched: FleetCommand) -> None:
    replica = seen(watched)["status"]["replicas"][0]["name"]
    # The reconciler too, which would replace them before the page has looked.
    with stopped([*watched.pids("reconciler"), *watched.envoy(), *watched.pids(replica)]):
        until(lambda: "Envoy does not answer" in seen(watched)["status"]["problems"], "the page to say so")
    until(lambda: seen(watched)["status"]["ready"], "the fleet to heal")


def test_restarts_of_a_replica_are_counted(watched: FleetCommand) -> None:
    def restarts() -> int:
        return int(seen(watched)["status"]["replicas"][1]["restarts"])

    before, name = restarts(), seen(watched)["status"]["replicas"][1]["name"]
    os.kill(watched.pids(name)[0], signal.SIGKILL)
    until(lambda: restarts() == before + 1, "supervisord to restart it")
    until(lambda: seen(watched)["status"]["ready"], "the replica to be ready again")


def test_page_that_hangs_is_replaced(watched: FleetCommand) -> None:
    (page,) = watched.pids("page")
    with stopped([page]):
        until(lambda: watched.pids("page") not in ([], [page]), "the reconciler to kill it")
    until(lambda: answers(watched), "the new one to answer")


def watching(fleet: FleetCommand, *arguments: str) -> subprocess.Popen[str]:
    command = [fleet.python, "-m", "fleet", "status", "--watch", *arguments]
    return subprocess.Popen(
        command, cwd=PROJECT, env=fleet.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_watch_in_a_pipe_prints_a_block_each_time_and_ends_cleanly(watched: FleetCommand) -> None:
    with watching(watched) as process:
        assert process.stdout
        blocks = [[line.rstrip("\n") for line in iter(process.stdout.readline, "\n")] for _ in range(2)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    for block in blocks:
        assert block[1].startswith("HTTP    http://127.0.0.1:")
        assert sum(line.startswith("traffic ") for line in block) == 1
        assert not any("\x1b" in line for line in block)


def test_watch_ends_when_nobody_reads_any_more(watched: FleetCommand) -> None:
    with watching(watched, "--json") as process:
        assert process.stdout
        assert process.stderr
        assert json.loads(process.stdout.readline())["status"]["http"]
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 0


def test_watch_in_a_terminal_draws_over_the_last_block(watched: FleetCommand) -> None:
    for variables, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        # Without `exec` a shell may stay between and die of Ctrl-C itself, which is then the exit code.
        command = f"exec {watched.python} -m fleet status --watch"
        environment = {**watched.environment, "TERM": "xterm", **variables}
        environment = {name: value for name, value in environment.items() if name != "NO_COLOR" or variables}
        with subprocess.Popen(
            ["script", "-qfec", command, "/dev/null"],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout
            assert process.stdin
            shown = ""
            while shown.count("\x1b[H") < 2:
                shown += (sign := process.stdout.read(1))
                assert sign, shown
            process.stdin.write("\x03")  # Ctrl-C
            process.stdin.flush()
            shown += process.stdout.read()
        assert process.returncode == 0
        assert ("\x1b[32mready\x1b[0m" in shown) is coloured
        assert "\x1b[J" in shown


def test_costs_are_printed_beside_the_seed(watched: FleetCommand) -> None:
    command = [watched.python, "-m", "fleet", "costs"]
    done = subprocess.run(command, cwd=PROJECT, env=watched.environment, capture_output=True, text=True, check=True)
    assert "a million predictions  " in done.stdout
    assert "the seed: 80 USD" in done.stdout
    wrong = subprocess.run(
        command,
        cwd=PROJECT,
        env=watched.environment | {"BULKHEAD_PRICES": "cheap"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode == 78
    assert len(wrong.stderr.strip().splitlines()) == 1


def test_history_that_cannot_be_read_is_a_problem_beside_all_else(tmp_path: Path) -> None:
    (tmp_path / history.FILE_NAME).mkdir()
    found = Observer(Settings(store=str(tmp_path / "store"), verify_keys=tuple, root=tmp_path)).look()
    assert found["history"] == []
    assert f"{tmp_path / history.FILE_NAME} cannot be read: Is a directory" in found["status"]["problems"]
