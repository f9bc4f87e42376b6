#!/usr/bin/env bash
# prometheus_client 0.26: one NaN among the values of a histogram is counted in no bucket, not even +Inf, and not in `_count`, but makes `_sum` NaN, and
# so every mean and `rate(…_sum)` until the process ends. The library's own parser of OpenMetrics then refuses the page that its own exposition
# wrote, all other metrics with it. Scores of a model may be NaN: look before `observe`. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check prometheus-client==0.26.0
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import math
import sys

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

registry = CollectorRegistry()
Gauge("ready", "others on the page", registry=registry).set(1)
scores = Histogram("score", "answers of a model", buckets=(0.5, 1.0), registry=registry)


def state():
    found = {}
    for name in ("score_bucket", "score_count", "score_sum"):
        found[name] = registry.get_sample_value(name, {"le": "+Inf"} if name == "score_bucket" else {})
    page = generate_latest(registry).decode()
    try:
        parsed = f"{len(list(text_string_to_metric_families(page)))} families"
    except ValueError as error:
        parsed = f"refused: {error}"
    return found, parsed


for value in (0.25, 0.75):
    scores.observe(value)
before, parsed_before = state()
scores.observe(math.nan)
for _ in range(1000):
    scores.observe(0.5)
after, parsed_after = state()
print(f"after two values: {before}; OpenMetrics: {parsed_before}")
print(f"after a NaN and 1,000 more: {after}; OpenMetrics: {parsed_after}")
is_known = before == {"score_bucket": 2.0, "score_count": 2.0, "score_sum": 1.0} and parsed_before == "2 families"
is_known = is_known and after["score_bucket"] == after["score_count"] == 1002.0 and math.isnan(after["score_sum"])
sys.exit(not (is_known and parsed_after.startswith("refused")))
PYTHON
