#!/usr/bin/env bash
# DVC replaces objects and settings by a rename, but writes dvc.lock in place: the same inode before and after, cut to nothing first.
# A process that is killed there, or a full disk, leaves an empty or torn lock, and every later command fails ("validation failed") though
# the run cache has all results: without the file `dvc repro` restores them and runs nothing.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check dvc==3.67.1
export PATH="$directory/venv/bin:$PATH" DVC_NO_ANALYTICS=true
mkdir "$directory/project" && cd "$directory/project"
git init --quiet . && dvc init --quiet
dvc --version
echo input > input.txt
for name in first second; do dvc stage add --quiet --name "$name" --deps input.txt --outs "$name.txt" "cat input.txt > $name.txt"; done
dvc repro --quiet
cp dvc.lock whole.lock
before=$(stat --format %i dvc.lock)

echo other > input.txt && dvc repro --quiet
echo "inode of dvc.lock: $before, then $(stat --format %i dvc.lock)"
[ "$before" = "$(stat --format %i dvc.lock)" ]
echo input > input.txt && dvc repro --quiet && cmp dvc.lock whole.lock

: > dvc.lock
code=0; said=$(dvc repro 2>&1) || code=$?
echo "an empty dvc.lock: exit code $code, $(head -n 1 <<< "$said")"
[ "$code" -eq 255 ] && grep --quiet "validation failed" <<< "$said"
rm dvc.lock
said=$(dvc repro 2>&1)
cmp dvc.lock whole.lock
[ "$(grep --count "Running stage" <<< "$said")" = 0 ]
echo "none: $(grep --count "is cached" <<< "$said") stages restored, none run, the same dvc.lock"
