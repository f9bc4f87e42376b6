"""Every object of both overlays: schemas, Pod Security, and what is set for a reason."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from contract.bundle import manifest
from harness import interpreter
from tests.fleet.kubernetes import restricted

VERSIONS = ("1.35", "1.36", "1.37")
# Of other projects, whose schemas are in packages of npm alone: what of them is checked without these stands below.
CUSTOM = {"Gateway", "HTTPRoute", "GRPCRoute", "ServiceMonitor"}
Rendered = dict[str, list[dict[str, Any]]]


def of_kind(rendered: Rendered, *kinds: str) -> Iterator[dict[str, Any]]:
    for objects in rendered.values():
        yield from (each for each in objects if each["kind"] in kinds)


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_match_the_schemas_strictly(rendered: Rendered, version: str) -> None:
    for objects in rendered.values():
        for each in objects:
            if each["kind"] not in CUSTOM:
                kubernetes_validate.validate(each, version, strict=True)


def _custom_problems(objects: list[dict[str, Any]]) -> list[str]:
    """What the packages `@kubernetes-models/gateway-api` and `…/prometheus-operator` find, in the folder that a variable names."""
    models = os.environ.get("KUBERNETES_MODELS")
    if not models or not shutil.which("node"):
        pytest.skip(
            "no node, or KUBERNETES_MODELS names no node_modules with @kubernetes-models/{gateway-api,prometheus-operator}"
        )
    command = ["node", Path(__file__).with_name("custom.mjs"), Path(models).absolute()]
    done = subprocess.run(command, input=json.dumps(objects), capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return found


def test_custom_objects_match_the_schemas_of_their_projects(rendered: Rendered) -> None:
    objects = list(of_kind(rendered, *CUSTOM))
    assert {each["kind"] for each in objects} == CUSTOM
    assert _custom_problems(objects) == []
    route = _copy(next(of_kind(rendered, "HTTPRoute")))
    route["spec"]["rules"][0]["backendRefs"][0]["weight"] = "ten"
    assert any("weight" in problem for problem in _custom_problems([route]))


def test_the_schemas_are_strict(rendered: Rendered) -> None:
    deployment = next(of_kind(rendered, "Deployment"))
    changed = deployment | {"spec": deployment["spec"] | {"replicaz": 1}}
    with pytest.raises(kubernetes_validate.ValidationError, match="replicaz"):
        kubernetes_validate.validate(changed, VERSIONS[-1], strict=True)


def test_pods_are_restricted(rendered: Rendered) -> None:
    deployments = list(of_kind(rendered, "Deployment"))
    assert len(deployments) == 4
    for each in deployments:
        assert restricted.violations(each["spec"]["template"]["spec"]) == []


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        (("securityContext", "runAsNonRoot"), False, "runAsNonRoot"),
        (("securityContext", "seccompProfile"), {"type": "Unconfined"}, "seccompProfile"),
        (("hostNetwork",), True, "hostNetwork"),
        (("volumes",), [{"name": "host", "hostPath": {"path": "/"}}], "volume host"),
        (("containers", 0, "securityContext", "capabilities"), {"drop": []}, "capabilities"),
        (("containers", 0, "securityContext", "allowPrivilegeEscalation"), True, "allowPrivilegeEscalation"),
        (("initContainers", 0, "securityContext", "privileged"), True, "privileged"),
        (("containers", 0, "securityContext", "runAsUser"), 0, "runAsUser"),
    ],
)
def test_the_check_of_restricted_pods_notices(rendered: Rendered, path: tuple[Any, ...], value: Any, rule: str) -> None:
    pod = _copy(next(of_kind(rendered, "Deployment"))["spec"]["template"]["spec"])
    at = pod
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    assert any(rule in each for each in restricted.violations(pod))


def test_namespaces_enforce_restricted(rendered: Rendered) -> None:
    for each in of_kind(rendered, "Namespace"):
        for mode in ("enforce", "audit", "warn"):
            assert each["metadata"]["labels"][f"pod-security.kubernetes.io/{mode}"] == "restricted"


def test_nothing_but_tmp_is_writable_and_no_token_is_mounted(rendered: Rendered) -> None:
    for each in of_kind(rendered, "Deployment"):
        pod = each["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
        assert [volume["name"] for volume in pod["volumes"]] == ["tmp"]
        for container in (*pod["initContainers"], *pod["containers"]):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert {mount["mountPath"] for mount in container.get("volumeMounts", [])} <= {"/tmp"}
    for each in of_kind(rendered, "ServiceAccount"):
        assert each["automountServiceAccountToken"] is False


def test_a_rollout_takes_no_replica_away_and_a_drain_one_at_a_time(rendered: Rendered) -> None:
    for each in of_kind(rendered, "Deployment"):
        assert each["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        pod = each["spec"]["template"]["spec"]
        server = pod["containers"][0]
        assert pod["terminationGracePeriodSeconds"] > server["lifecycle"]["preStop"]["sleep"]["seconds"] + 30
        probes = {name: server[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
        assert probes == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}
    for each in of_kind(rendered, "PodDisruptionBudget"):
        assert each["spec"]["maxUnavailable"] == 1


def test_every_reference_leads_to_an_object(rendered: Rendered) -> None:
    for objects in rendered.values():
        names = {(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects}
        labels = [each["spec"]["template"]["metadata"]["labels"] for each in objects if each["kind"] == "Deployment"]
        ports = {"http": 3000, "grpc": 3001, "metrics": 3002}
        for each in objects:
            space, spec = each["metadata"].get("namespace"), each.get("spec", {})
            if each["kind"] == "Service":
                assert [spec["selector"].items() <= found.items() for found in labels].count(True) in (1, 2)
                assert all(port["port"] == ports[port["targetPort"]] for port in spec["ports"])
            if each["kind"] == "HorizontalPodAutoscaler":
                assert ("Deployment", space, spec["scaleTargetRef"]["name"]) in names
            if each["kind"] in ("HTTPRoute", "GRPCRoute"):
                assert all(("Gateway", space, parent["name"]) in names for parent in spec["parentRefs"])
                backends = [backend for rule in spec["rules"] for backend in rule["backendRefs"]]
                assert all(("Service", space, backend["name"]) in names for backend in backends)
                assert sum(backend["weight"] for backend in backends) == 100
            if each["kind"] == "Deployment":
                pod = spec["template"]["spec"]
                assert ("ServiceAccount", space, pod["serviceAccountName"]) in names
                assert ("PriorityClass", None, pod["priorityClassName"]) in names
                named = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
                assert named == ports
            if each["kind"] == "ServiceMonitor":
                wanted = spec["selector"]["matchLabels"].items()
                found = [
                    one
                    for one in objects
                    if one["kind"] == "Service" and wanted <= one["metadata"].get("labels", {}).items()
                ]
                assert [one["metadata"]["name"] for one in found] == ["predictor-metrics"]


@pytest.mark.parametrize("digest", ["right", "wrong"])
def test_the_init_container_refuses_another_bundle(rendered: Rendered, source: Path, digest: str) -> None:
    container = next(of_kind(rendered, "Deployment"))["spec"]["template"]["spec"]["initContainers"][0]
    code = container["args"][0].replace("/bundle", str(source))
    variables = {
        "BUNDLE": manifest.digest_of(source) if digest == "right" else "0" * 64,
        "PYTHONPATH": str(source / "src"),
    }
    command = [interpreter("serving"), *container["command"][1:], code]
    done = subprocess.run(
        command, env={"PATH": os.environ["PATH"]} | variables, check=False, capture_output=True, text=True
    )
    assert (done.returncode == 0) == (digest == "right"), done.stderr


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(each) for key, each in value.items()}
    return [_copy(each) for each in value] if isinstance(value, list) else value
