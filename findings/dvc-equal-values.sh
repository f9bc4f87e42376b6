#!/usr/bin/env bash
# DVC 3.67 compares parameters as Python compares objects: 1, 1.0 and true are one value to it. Changing `labels: [0, 1]` to `[0.0, 1.0]` or
# `shuffle: 1` to `true` makes no stage run again, though one that writes a value, or asks for its type, would write something else; `dvc params
# diff` shows the former and not the latter. `.nan` differs from itself: its stage is never up to date. So make a file with such values a
# dependency (`deps:`), which is compared by its bytes. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check dvc==3.67.1
export PATH="$work/venv/bin:$PATH" DVC_NO_ANALYTICS=true DVC_SITE_CACHE_DIR="$work/site"
mkdir "$work/project" && cd "$work/project"
git init --quiet . && dvc init --quiet && git config user.name nobody && git config user.email nobody@localhost
echo "dvc $(dvc --version)"

echo '{labels: [0, 1], shuffle: 1, rate: 0.5}' > params.yaml
dvc stage add --quiet --name train --params labels,shuffle,rate --outs model.txt 'cat params.yaml > model.txt'
dvc repro --quiet
git add . && git commit --quiet --message first

echo '{labels: [0.0, 1.0], shuffle: true, rate: 0.5}' > params.yaml
status=$(dvc status); difference=$(dvc params diff); said=$(dvc repro)
echo "dvc status: $status"
echo "dvc params diff: $(tail -n +2 <<< "$difference" | xargs)"
echo "dvc repro: $(head -n 1 <<< "$said")"
echo "params.yaml has $(cat params.yaml), model.txt $(cat model.txt)"
grep --quiet "up to date" <<< "$status"
grep --quiet "labels" <<< "$difference"
[ "$(grep --count "shuffle" <<< "$difference")" = 0 ]
grep --quiet "didn't change, skipping" <<< "$said"
[ "$(cat model.txt)" = '{labels: [0, 1], shuffle: 1, rate: 0.5}' ]

rm dvc.lock && dvc repro --quiet
echo "without dvc.lock, model.txt has $(cat model.txt)"
cmp params.yaml model.txt

echo '{labels: [0, 1], shuffle: 1, rate: .nan}' > params.yaml
dvc repro --quiet
status=$(dvc status)
echo "dvc status, just after a run with .nan: $(grep modified <<< "$status" | xargs)"
grep --quiet "modified: *rate" <<< "$status"
