"""The verbs, as a process, against a server that speaks like a cluster's."""

from __future__ import annotations

import getpass
import io
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from contract.bundle import signature
from contract.errors import EXIT_CONFIGURATION, EXIT_RETRY, EXIT_USAGE
from contract.store.store import Store
from fleet.kubernetes.__main__ import main
from tests.fleet.conftest import KEY, Bundles
from tests.fleet.kubernetes import cluster as emulated

DEPLOYMENTS, CONFIGS = "deployments", "configmaps"


def image(number: int) -> str:
    return f"registry.test/flights@sha256:{number:064x}"


@dataclass
class Command:
    """The command on an emulated cluster."""

    cluster: emulated.Cluster
    kubeconfig: Path
    store: Store
    bundles: Bundles
    var: Path

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run in this process: a process of its own takes a second for its imports alone."""
        environment = {
            "BULKHEAD_STORE": self.store.location,
            "BULKHEAD_VAR": str(self.var),
            "BULKHEAD_VERIFY_KEY": signature.public_key_of(KEY).decode(),
            "KUBECONFIG": str(self.kubeconfig),
        }
        out, error = io.StringIO(), io.StringIO()
        with patch.dict(os.environ, environment | variables), redirect_stdout(out), redirect_stderr(error):
            code = main([*arguments, "--json"])
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), error.getvalue())

    def __call__(self, *arguments: str) -> dict[str, Any]:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        status: dict[str, Any] = json.loads(done.stdout)
        return status

    def refused(self, code: int, *arguments: str, **variables: str) -> str:
        done = self.run(*arguments, **variables)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return str(json.loads(done.stdout)["error"]["message"])

    def images(self, track: str) -> set[str]:
        template = self.cluster.one(DEPLOYMENTS, f"predictor-{track}")["spec"]["template"]["spec"]
        return {each["image"] for each in (*template["initContainers"], *template["containers"])}

    def weights(self) -> dict[str, dict[str, int]]:
        found = {}
        for plural in ("httproutes", "grpcroutes"):
            rules = self.cluster.one(plural, "predictor")["spec"]["rules"]
            found[plural] = {
                each["name"].removeprefix("predictor-"): each["weight"] for each in rules[0]["backendRefs"]
            }
        return found


@pytest.fixture
def fleet(store: Store, bundles: Bundles, tmp_path: Path) -> Iterator[Command]:
    """A cluster in which nothing was applied, and a store in which nothing is live."""
    for channel in (Path(store.location) / "channels").glob("*.json"):
        channel.unlink()
    with emulated.running(tmp_path) as (cluster, kubeconfig):
        handler = signal.getsignal(signal.SIGTERM)
        yield Command(cluster, kubeconfig, store, bundles, tmp_path / "var")
        signal.signal(signal.SIGTERM, handler)


def test_a_bundle_serves_after_up_and_deploy(fleet: Command) -> None:
    assert fleet("up")["problems"] == ["nothing is live: `deploy candidate --image NAME@sha256:…`"]
    status = fleet("deploy", fleet.bundles.first, "--image", image(1))
    assert status["ready"] and [each["ready"] for each in status["replicas"]] == [True, True]
    assert fleet.images("live") == {image(1)}
    assert fleet.cluster.one(CONFIGS, "fleet")["data"]["fleet.yaml"].startswith("# The fleet of this cluster")
    channel = fleet.store.read("live")
    assert channel is not None and (channel.digest, channel.history[-1]["by"]) == (fleet.bundles.first, "fleet deploy")
    deployment = fleet.cluster.one(DEPLOYMENTS, "predictor-live")
    verify = deployment["spec"]["template"]["spec"]["initContainers"][0]
    assert {"name": "BUNDLE", "value": fleet.bundles.first} in verify["env"]


def versions(fleet: Command) -> dict[emulated.Key, str]:
    return {key: each["metadata"]["resourceVersion"] for key, each in fleet.cluster.stored.items() if key[0] != "pods"}


def test_nothing_changes_when_a_verb_is_repeated(fleet: Command) -> None:
    fleet("up")
    fleet("deploy", fleet.bundles.first, "--image", image(1))
    before = versions(fleet)
    fleet("deploy", fleet.bundles.first)
    fleet("up")
    assert versions(fleet) == before


def test_a_canary_is_promoted_and_rolled_back(fleet: Command) -> None:
    fleet("up")
    fleet("deploy", fleet.bundles.first, "--image", image(1))
    status = fleet("deploy", fleet.bundles.second, "--image", image(2), "--canary", "10")
    assert status["canary"] == {"digest": fleet.bundles.second, "percent": 10, "image": image(2)}
    assert fleet.weights() == {key: {"live": 90, "canary": 10} for key in ("httproutes", "grpcroutes")}
    assert (fleet.images("live"), fleet.images("canary")) == ({image(1)}, {image(2)})

    assert fleet("promote")["canary"] is None
    assert fleet.images("live") == {image(2)}
    assert fleet.weights()["httproutes"] == {"live": 100, "canary": 0}
    assert fleet.cluster.one(DEPLOYMENTS, "predictor-canary")["spec"]["replicas"] == 0

    # Without a canary, back to the bundle before, whose image the record knows.
    fleet("rollback")
    assert fleet.images("live") == {image(1)}
    channel = fleet.store.read("live")
    assert channel is not None and channel.digest == fleet.bundles.first


def test_what_served_serves_again_after_down_and_up(fleet: Command) -> None:
    fleet("up")
    fleet("deploy", fleet.bundles.first, "--image", image(1))
    fleet("scale", "3")
    fleet.cluster.applied.clear()
    down = fleet("down", "--why", "the node is replaced")
    # Callers first, then the autoscaler, which would make replicas again.
    assert [plural for plural, _ in fleet.cluster.applied[:4]] == [
        "httproutes",
        "grpcroutes",
        "horizontalpodautoscalers",
        DEPLOYMENTS,
    ]
    assert (down["replicas"], down["live"]["digest"]) == ([], fleet.bundles.first)
    assert not [key for key in fleet.cluster.stored if key[0] in (DEPLOYMENTS, "pods", "httproutes")]
    assert fleet("down")["replicas"] == []  # once more changes nothing
    up = fleet("up")
    assert (up["ready"], len(up["replicas"]), fleet.images("live")) == (True, 3, {image(1)})


def test_history_tells_who_changed_what_why_and_how_it_ended(fleet: Command) -> None:
    fleet("up")
    fleet("deploy", fleet.bundles.first, "--image", image(1), "--why", "the first")
    fleet("deploy", fleet.bundles.first, "--why", "once more, which changes nothing")
    fleet("deploy", fleet.bundles.second, "--image", image(2), "--canary", "5")
    fleet("rollback")
    fleet.cluster.broken.add(image(2))
    fleet.refused(EXIT_RETRY, "deploy", fleet.bundles.second, "--image", image(2))
    fleet("down")
    done = fleet.run("history", LOGNAME="somebody")
    told = [
        (each["verb"], each["bundle"], each["why"], each["verdict"].split(";")[0]) for each in json.loads(done.stdout)
    ]
    first, second = fleet.bundles.first, fleet.bundles.second
    assert told == [
        ("deploy", first, "the first", "done"),
        ("deploy", second, "", "done"),
        ("rollback", second, "", "done"),
        (
            "deploy",
            second,
            "",
            f"failed: the replicas of {second[:12]} in deployment/predictor-live did not become available",
        ),
        ("down", first, "", "done"),
    ]
    assert {each["by"] for each in json.loads(done.stdout)} == {getpass.getuser()}


@pytest.mark.parametrize("options", [["--shadow"], ["--shadow", "--percent=10"], ["--percent=10"], ["--canary=auto"]])
def test_options_that_no_part_of_a_cluster_fulfils_are_refused_in_one_line(
    fleet: Command, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fleet("up")
    before = versions(fleet)
    message = fleet.refused(EXIT_USAGE, "deploy", fleet.bundles.first, "--image", image(1), *options)
    assert "not supported on Kubernetes" in message and "\n" not in message
    assert versions(fleet) == before


def test_the_weights_go_first_when_a_canary_is_rolled_back(fleet: Command) -> None:
    fleet("up")
    fleet("deploy", fleet.bundles.first, "--image", image(1))
    fleet("deploy", fleet.bundles.second, "--image", image(2), "--canary", "50")
    fleet.cluster.applied.clear()
    fleet("rollback")
    order = [name for plural, name in fleet.cluster.applied if plural in ("httproutes", "deployments")]
    assert order == ["predictor-live", "predictor", "predictor-canary"]
    assert fleet.weights()["grpcroutes"] == {"live": 100, "canary": 0}


def test_everything_is_as_before_when_replicas_do_not_become_available(fleet: Command) -> None:
    fleet("up")
    fleet("deploy", fleet.bundles.first, "--image", image(1))
    fleet.cluster.broken.add(image(2))
    message = fleet.refused(EXIT_RETRY, "deploy", fleet.bundles.second, "--image", image(2))
    assert "server: ImagePullBackOff" in message
    assert fleet.images("live") == {image(1)}
    channel = fleet.store.read("live")
    assert channel is not None and channel.digest == fleet.bundles.first
    assert fleet("status")["ready"]
    # A canary as well: the live replicas are not touched at all.
    fleet.refused(EXIT_RETRY, "deploy", fleet.bundles.second, "--image", image(2), "--canary", "5")
    assert fleet.weights()["httproutes"] == {"live": 100, "canary": 0}
    assert fleet("status")["canary"] is None


def test_the_autoscaler_gets_the_bounds(fleet: Command) -> None:
    fleet("up")
    fleet("deploy", fleet.bundles.first, "--image", image(1))
    status = fleet("scale", "3", "8")
    scaler = fleet.cluster.one("horizontalpodautoscalers", "predictor-live")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"], len(status["replicas"])) == (3, 8, 3)
    # Nor does a later deployment set what the autoscaler has decided since.
    fleet.cluster.one(DEPLOYMENTS, "predictor-live")["spec"]["replicas"] = 5
    fleet("deploy", fleet.bundles.second, "--image", image(2))
    assert fleet.cluster.one(DEPLOYMENTS, "predictor-live")["spec"]["replicas"] == 5


def test_the_second_of_two_commands_changes_nothing(fleet: Command) -> None:
    fleet("up")
    fleet("deploy", fleet.bundles.first, "--image", image(1))

    def another_command() -> None:
        fleet.cluster.one(CONFIGS, "fleet")["metadata"]["resourceVersion"] = "another"

    # While the first waits for its replicas another command writes the record; the routes are the other one's.
    fleet.cluster.at_apply["predictor-canary"] = another_command
    message = fleet.refused(EXIT_RETRY, "deploy", fleet.bundles.second, "--image", image(2), "--canary", "20")
    assert "another command changed the fleet meanwhile" in message
    assert fleet.weights()["httproutes"] == {"live": 100, "canary": 0}


def test_everything_is_as_before_when_the_channel_was_moved_meanwhile(fleet: Command) -> None:
    fleet("up")
    fleet("deploy", fleet.bundles.first, "--image", image(1))

    def move() -> None:
        fleet.store.move("live", fleet.bundles.first, expected=fleet.store.read("live"), by="somebody else")

    fleet.cluster.at_apply["predictor-live"] = move
    fleet.refused(EXIT_RETRY, "deploy", fleet.bundles.second, "--image", image(2))
    assert fleet.images("live") == {image(1)}
    assert fleet("status")["ready"]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("bundles.json", "{"),
        ("bundles.json", "{}"),
        ("fleet.yaml", "replicas: 0\n"),
        ("fleet.yaml", "canary: {bundle: abcdef01, weight: 5}\n"),
    ],
)
def test_a_record_that_was_edited_wrongly_is_refused(fleet: Command, key: str, text: str) -> None:
    fleet("up")
    fleet.cluster.one(CONFIGS, "fleet")["data"][key] = text
    before = versions(fleet)
    for verb in (("status",), ("up",), ("scale", "3")):
        assert fleet.refused(EXIT_CONFIGURATION, *verb)
    assert versions(fleet) == before


def test_a_field_of_another_manager_is_left_alone(fleet: Command) -> None:
    fleet("up")
    fleet("deploy", fleet.bundles.first, "--image", image(1))
    fleet.cluster.owned["horizontalpodautoscalers"] = "kubectl-edit"
    message = fleet.refused(EXIT_CONFIGURATION, "scale", "4")
    assert 'conflict with "kubectl-edit"' in message and "--force" in message
    assert fleet("scale", "4", "--force")["size"] == 4


def test_a_declaration_of_a_file_is_applied(fleet: Command, tmp_path: Path) -> None:
    fleet("up")
    fleet("deploy", fleet.bundles.first, "--image", image(1))
    declared = tmp_path / "fleet.yaml"
    declared.write_text("# ours\nreplicas: {min: 2, max: 6}\nlimits: {memory_mb: 700}\n")
    assert fleet("up", "--file", str(declared))["most"] == 6
    assert fleet.cluster.one(CONFIGS, "fleet")["data"]["fleet.yaml"].startswith("# ours\n")
    containers = fleet.cluster.one(DEPLOYMENTS, "predictor-live")["spec"]["template"]["spec"]["containers"]
    assert containers[0]["resources"]["limits"]["memory"] == "700Mi"
    for text in ("shadow: 0123456789abcdef", "sticky: header", "replicaz: 2", "replicas: {min: 3, max: 2}"):
        before = fleet.cluster.one(CONFIGS, "fleet")
        declared.write_text(f"{text}\n")
        fleet.refused(EXIT_CONFIGURATION, "up", "--file", str(declared))
        assert fleet.cluster.one(CONFIGS, "fleet") == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("deploy", "candidate"), "no channel 'candidate'"),
        (("promote",), "no canary to promote"),
        (("rollback",), "nothing to roll back to"),
        (("status", "--overlay", "mars"), "there is no overlay mars"),
    ],
)
def test_wrong_requests_change_nothing(fleet: Command, arguments: tuple[str, ...], said: str) -> None:
    fleet("up")
    before = len(fleet.cluster.applied)
    done = fleet.run(*arguments)
    assert done.returncode in (65, EXIT_CONFIGURATION) and said in done.stdout
    assert len(fleet.cluster.applied) == before


def test_an_image_is_pinned_and_known(fleet: Command) -> None:
    fleet("up")
    assert "give --image" in fleet.refused(EXIT_CONFIGURATION, "deploy", fleet.bundles.first)
    assert "@sha256:" in fleet.refused(EXIT_USAGE, "deploy", fleet.bundles.first, "--image", "flights:latest")


def test_refusals_of_the_cluster_say_what_to_do(fleet: Command, tmp_path: Path) -> None:
    deploy = ("deploy", fleet.bundles.first, "--image", image(1))
    assert 'namespaces "bulkhead-serving" not found: run `up` first' in fleet.refused(EXIT_CONFIGURATION, *deploy)
    fleet.cluster.unknown.add("monitoring.coreos.com")
    assert "does not know ServiceMonitor" in fleet.refused(EXIT_CONFIGURATION, "up")
    fleet.cluster.unknown.clear()
    fleet("up")
    fleet.cluster.forbidden.add("deployments")
    assert "cannot patch" in fleet.refused(EXIT_CONFIGURATION, *deploy)
    fleet.cluster.forbidden.clear()
    fleet.cluster.forbidden.add("configmaps")
    assert "bind the Role" in fleet.refused(EXIT_CONFIGURATION, *deploy)
    gone = emulated.kubeconfig(tmp_path, "http://127.0.0.1:9")
    assert "no cluster answers at http://127.0.0.1:9" in fleet.refused(EXIT_RETRY, "status", KUBECONFIG=str(gone))
    assert "no cluster is configured" in fleet.refused(EXIT_CONFIGURATION, "status", KUBECONFIG=str(tmp_path / "none"))
