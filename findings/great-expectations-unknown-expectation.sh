#!/usr/bin/env bash
# Great Expectations 1.24: a suite that is made with an expectation whose name is misspelled is made without it. Only a line in the log says so;
# the suite validates, and succeeds, as if nobody had asked. `suite.add_expectation_configuration` of the same raises. So build each one before
# it goes into a suite. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check great-expectations==1.24.1
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import logging
import sys

import great_expectations as gx
import pandas as pd
from great_expectations.exceptions import InvalidExpectationConfigurationError
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
asked = {"type": "expect_colum_max_to_be_between", "kwargs": {"column": "age", "max_value": 120}}
suite = gx.ExpectationSuite(name="people", expectations=[asked])
context = gx.get_context(mode="ephemeral")
context.variables.progress_bars = {"globally": False}
batch = context.data_sources.add_pandas("memory").add_dataframe_asset("people").add_batch_definition_whole_dataframe("all")
result = batch.get_batch({"dataframe": pd.DataFrame({"age": [7, 999]})}).validate(suite)
print(f"Great Expectations {gx.__version__}: asked for 1 expectation, the suite has {len(suite.expectations)}; success: {result.success}")
try:
    gx.ExpectationSuite(name="others").add_expectation_configuration(ExpectationConfiguration(**asked))
    added = "added"
except InvalidExpectationConfigurationError as error:
    added = f"{type(error).__name__}: {error.message}"
print(f"added to a suite: {added}")
sys.exit(not (result.success and not suite.expectations and added != "added"))
PYTHON
