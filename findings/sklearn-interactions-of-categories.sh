#!/usr/bin/env bash
# Histogram gradient boosting of scikit-learn puts categorical features first, and translates the positions in `monotonic_cst` but not
# those in `interaction_cst`: with a category that is not first, the constraint holds for other features than those that it names.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check scikit-learn==1.9.1
"$directory/venv/bin/python" - <<'PYTHON'
import numpy as np
import sklearn
from sklearn.ensemble import HistGradientBoostingRegressor

draw = np.random.default_rng(1)
rows = np.stack([draw.normal(size=4000), draw.normal(size=4000), draw.integers(0, 4, 4000)], axis=1)
outcomes = rows[:, 0] * rows[:, 1] + rows[:, 2]


def learns_the_product(categorical):
    """Whether features 0 and 1 meet, which only a group of both allows."""
    model = HistGradientBoostingRegressor(categorical_features=categorical, interaction_cst=[{0, 1}, {2}], random_state=1)
    return model.fit(rows, outcomes).score(rows, outcomes) > 0.9


found = {"no category": learns_the_product(None), "category last": learns_the_product([2])}
print("scikit-learn", sklearn.__version__, "keeps the named features together:", found)
assert found == {"no category": True, "category last": False}, "changed"
PYTHON
