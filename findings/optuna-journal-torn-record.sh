#!/usr/bin/env bash
# Optuna 5.0: a journal whose last record was torn by a kill is read, but the next record is appended to the torn line: that write, and
# every use of the file from then on, ends with JSONDecodeError. So cut the file after its last line end before it is opened. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check optuna==5.0.0
"$work/venv/bin/python" - "$work/journal" <<'PYTHON'
import json
import sys
from pathlib import Path

import optuna
from optuna.storages.journal import JournalFileBackend

optuna.logging.set_verbosity(optuna.logging.ERROR)
path = Path(sys.argv[1])


def study() -> optuna.Study:
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    return optuna.create_study(study_name="one", storage=storage, load_if_exists=True)


study().add_trial(optuna.trial.create_trial(value=1.0))
path.write_bytes(path.read_bytes()[:-20])
torn = study()
print(f"after the kill: {len(torn.trials)} trials are read")
failed = 0
for use in (lambda: torn.add_trial(optuna.trial.create_trial(value=2.0)), lambda: study().trials):
    try:
        print(f"afterwards: {use()}")
    except json.JSONDecodeError as error:
        failed += 1
        print(f"afterwards: {type(error).__name__}: {error}")
sys.exit(failed != 2)
PYTHON
