#!/usr/bin/env bash
# prometheus_client 0.26 parses a page of metrics and gives a counter another name: one whose name does not end in _total, as Envoy's do not and
# the text format does not ask for, gets that ending. A proxy or a collector that passes pages on by `text_string_to_metric_families` and
# `generate_latest` so breaks every dashboard and alert on the old name, without a word. Gauges keep theirs. Pass the text on as it is.
# Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check prometheus_client==0.26.0
"$work/venv/bin/python" - <<'PYTHON'
import importlib.metadata
import sys

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

PAGE = """# TYPE envoy_cluster_upstream_rq counter
envoy_cluster_upstream_rq{envoy_response_code="200"} 3
# TYPE envoy_server_live gauge
envoy_server_live 1
"""


class Passed:
    def collect(self):
        return text_string_to_metric_families(PAGE)


registry = CollectorRegistry()
registry.register(Passed())
parsed = [sample.name for family in text_string_to_metric_families(PAGE) for sample in family.samples]
pages = {"received": PAGE, "passed on": generate_latest(registry).decode()}
found = {
    name: [line.partition("{")[0].split()[0] for line in page.splitlines() if line[0] != "#"]
    for name, page in pages.items()
}
print(f"prometheus_client {importlib.metadata.version('prometheus_client')}")
for name, metrics in (found | {"parsed": parsed}).items():
    print(f"{name}: {metrics}")
renamed = ["envoy_cluster_upstream_rq_total", "envoy_server_live"]
sys.exit(
    found != {"received": ["envoy_cluster_upstream_rq", "envoy_server_live"], "passed on": renamed} or parsed != renamed
)
PYTHON
