#!/usr/bin/env bash
# Optuna 5.0: `create_study(direction="maximize", load_if_exists=True)` of a study that minimises returns that study, which goes on minimising:
# no error, no warning, and `best_value` is the worst. Whoever changes the direction must change the name too, or ask `study.direction`.
# Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check optuna==5.0.0
"$work/venv/bin/python" -W error - "$work/journal" <<'PYTHON'
import logging
import sys

import optuna
from optuna.storages.journal import JournalFileBackend

heard = []
optuna.logging.disable_default_handler()
listener = logging.Handler(logging.WARNING)
listener.emit = heard.append
logging.getLogger("optuna").addHandler(listener)
storage = optuna.storages.JournalStorage(JournalFileBackend(sys.argv[1]))


def study(direction: str) -> optuna.Study:
    return optuna.create_study(study_name="auc", storage=storage, direction=direction, load_if_exists=True)


study("minimize").add_trials([optuna.trial.create_trial(value=value) for value in (0.6, 0.8)])
again = study("maximize")
print(f"asked for maximize: {again.direction.name}, best value {again.best_value} of 0.6 and 0.8; warnings: {len(heard)}")
sys.exit(not (again.direction.name == "MINIMIZE" and again.best_value == 0.6 and not heard))
PYTHON
