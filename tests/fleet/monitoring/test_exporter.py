"""The fleet's own metrics: of a snapshot, and every one that an alert or a dashboard names is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest

from fleet.monitoring import exporter, observer
from harness import PROJECT
from tests.fleet.monitoring.test_page import CANARY, LIVE, snapshot

GRAFANA = PROJECT / "fleet" / "monitoring" / "grafana"
STARTED = 1_795_950_000


def seen() -> dict[str, Any]:
    """A snapshot of a fleet with a canary, of which one replica does not run and one kind of evidence is not known."""
    found = snapshot()
    replicas = [{"name": "f-0", "started_at": STARTED}, {"name": 'f"1', "started_at": 0}]
    found["status"] |= {"replicas": replicas, "canary": {"digest": CANARY, "percent": 5, "judge": "auto"}}
    found["canary"] |= {"bundle": CANARY, "requests": {"live": 70, "canary": 3}}
    found["scaling"] |= {"in_flight": None, "min": 2, "max": 4}
    found["reconciler"] = {"looks": True, "failure": {"why": "a replica is gone"}}
    found["history"] = [
        {"at": "2026-11-29T12:00:00.500+00:00", "verb": "rollback", "by": "judge", "verdict": "done"},
        {"at": "2026-11-29T11:00:00.000+00:00", "verb": "rollback", "by": "judge", "verdict": "done"},
        {"at": "2026-11-29T10:00:00.000+00:00", "verb": "deploy", "by": "somebody", "verdict": "refused: 2 breaks"},
    ]
    return found


def samples(page: str) -> dict[str, float]:
    """The samples by name and labels."""
    lines = [line.removeprefix("bulkhead_fleet_") for line in page.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_page_has_what_the_snapshot_has() -> None:
    found = samples(exporter.page(seen()))
    assert {name: value for name, value in found.items() if "cost" not in name} == {
        "ready{}": 0,
        "problems{}": 1,
        'replicas{role="live"}': 2,
        'replicas{role="shadow"}': 1,
        'replicas{role="canary"}': 1,
        'replicas_ready{role="live"}': 1,
        'replicas_ready{role="shadow"}': 1,
        'replicas_ready{role="canary"}': 0,
        'replica_start_time_seconds{replica="f-0"}': STARTED,
        "reconciler_up{}": 1,
        "reconciler_failing{}": 1,
        'canary_weight_percent{judge="auto"}': 5,
        'canary_start_time_seconds{judge="auto"}': 1_795_953_600,
        'canary_requests_total{side="live"}': 70,
        'canary_requests_total{side="canary"}': 3,
        'canary_evidence{kind="outcome"}': 6.1,
        'canary_threshold{kind="outcome"}': 150,
        'canary_threshold{kind="latency"}': 150,
        "scaling_min{}": 2,
        "scaling_max{}": 4,
        "scaling_desired{}": 3,
        "scaling_measured{}": 0,
        'last_change_timestamp_seconds{verb="rollback",by="judge",verdict="done"}': 1_795_953_600.5,
        'last_change_timestamp_seconds{verb="deploy",by="person",verdict="refused"}': 1_795_946_400,
        "predictions_total{}": 4000,
        'cpu_seconds_total{part="replicas"}': 3,
    }
    assert found['cost_total{currency="USD"}'] > 0


@pytest.mark.parametrize(
    "change",
    [
        {"canary": None},
        {"canary": {"bundle": LIVE, "started_at": 1.0}},
        {"canary": {"bundle": CANARY, "ended_at": 2.0}},
    ],
    ids=["nothing", "another bundle", "an ended trial"],
)
def test_evidence_of_an_earlier_trial_is_not_told(change: dict[str, Any]) -> None:
    found = samples(exporter.page(seen() | change))
    assert [name for name in found if name.startswith("canary_")] == ['canary_weight_percent{judge="auto"}']


def test_fixed_number_of_replicas_has_no_metrics_of_an_autoscaler() -> None:
    page = exporter.page(seen() | {"scaling": {"mode": "fixed", "desired": 2}})
    assert not [name for name in samples(page) if name.startswith("scaling_")]


def test_fleet_that_cannot_be_looked_at_is_not_ready_and_has_no_other_metric() -> None:
    assert samples(exporter.page(observer.failure(OSError("no store")))) == {"ready{}": 0, "problems{}": 1}


def test_alerts_and_dashboard_name_metrics_and_labels_that_there_are() -> None:
    page = exporter.page(seen())
    names = {*re.findall(r"^# TYPE (\w+)", page, re.MULTILINE)}
    labels = {"instance", *re.findall(r'(\w+)="', page)}
    rules = (GRAFANA / "fleet_rules.yaml").read_text()
    dashboard = (GRAFANA / "fleet_dashboard.json").read_text()
    for text in (rules, dashboard):
        assert set(re.findall(r"bulkhead_fleet_\w+", text)) <= names
        assert {*re.findall(r"\$labels\.(\w+)", text), *re.findall(r"[{,] ?(\w+)=~?\\?\"", text)} <= labels | {"job"}
    shown = set(re.findall(r"bulkhead_fleet_\w+", rules + dashboard))
    assert names - shown == set(), "metrics that nobody looks at"
    panels = json.loads(dashboard)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_metric_and_alert_is_in_the_reference() -> None:
    reference = (PROJECT / "docs" / "reference" / "metrics.md").read_text()
    for name in re.findall(r"^# TYPE (\w+)", exporter.page(seen()), re.MULTILINE):
        assert f"`{name}`" in reference, name
    for rules in ("rules.yaml", "fleet_rules.yaml"):
        for alert in re.findall(r"alert: (\w+)", (GRAFANA / rules).read_text()):
            assert f"`{alert}`" in reference, alert


def test_prometheus_takes_the_page() -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed: Debian has it in prometheus")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=exporter.page(seen()), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
