#!/usr/bin/env bash
# DVC 3.67: `dvc exp run -S rate=0.00001` writes params.yaml anew, as YAML 1.2 (its reference says so), and drops the quotes of every other value.
# A stage in Python reads it with PyYAML, which knows YAML 1.1: the country "NO" becomes False and the time "12:30" becomes 750, though nobody
# changed them, and the rate 1e-05 becomes text. The same values in the stage's command, as `${country}`, stay what they were. So read
# params.yaml with `dvc.api.params_show` or ruamel.yaml. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check dvc==3.67.1 pyyaml==6.0.4
export PATH="$work/venv/bin:$PATH" DVC_NO_ANALYTICS=true DVC_SITE_CACHE_DIR="$work/site"
mkdir "$work/project" && cd "$work/project"
git init --quiet . && dvc init --quiet && git config user.name nobody && git config user.email nobody@localhost
echo "dvc $(dvc --version)"

cat > params.yaml <<'YAML'
country: "NO"
opens: "12:30"
rate: 0.1
YAML
cat > train.py <<'PYTHON'
import sys

import dvc.api
import yaml

with open("params.yaml") as params, open("seen.txt", "w") as seen:
    print(yaml.safe_load(params), dvc.api.params_show("params.yaml"), sys.argv[1:], sep="\n", file=seen)
PYTHON
dvc stage add --quiet --name train --params country,opens,rate --deps train.py --outs seen.txt 'python train.py ${country} ${opens} ${rate}'
dvc repro --quiet
git add . && git commit --quiet --message first
before=$(sed -n 1p seen.txt)
dvc exp run --quiet -S rate=0.00001
echo "params.yaml: $(paste --serial --delimiters ';' params.yaml)"
echo "PyYAML reads $before, then $(sed -n 1p seen.txt)"
echo "dvc.api reads $(sed -n 2p seen.txt); the command has $(sed -n 3p seen.txt)"
[ "$before" = "{'country': 'NO', 'opens': '12:30', 'rate': 0.1}" ]
[ "$(sed -n 1p seen.txt)" = "{'country': False, 'opens': 750, 'rate': '1e-05'}" ]
[ "$(sed -n 2p seen.txt)" = "{'country': 'NO', 'opens': '12:30', 'rate': 1e-05}" ]
[ "$(sed -n 3p seen.txt)" = "['NO', '12:30', '1e-05']" ]
