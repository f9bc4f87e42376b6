#!/usr/bin/env bash
# DVC 3.67: of an output that is one file it remembers that it may be executed (`isexec` in dvc.lock). Of an output that is a folder it remembers
# contents only: after a checkout from the cache its programs may no longer be executed and its empty folders are gone, while `dvc status` says
# that all is up to date. So a later stage that runs such a program fails on the second machine. Call it through its interpreter, or keep an
# archive. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check dvc==3.67.1
export PATH="$work/venv/bin:$PATH" DVC_NO_ANALYTICS=true DVC_SITE_CACHE_DIR="$work/site"
mkdir "$work/project" && cd "$work/project"
git init --quiet . && dvc init --quiet
echo "dvc $(dvc --version)"

cat > build.sh <<'SHELL'
mkdir -p release/queue
printf '#!/bin/sh\necho runs\n' > release/run.sh
cp release/run.sh alone.sh
chmod +x release/run.sh alone.sh
SHELL
dvc stage add --quiet --name build --deps build.sh --outs release --outs alone.sh 'sh build.sh'
dvc repro --quiet
describe() {
    for name in alone.sh release/run.sh; do if [ -x "$name" ]; then echo "$name may be executed"; else echo "$name may not be executed"; fi; done
    if [ -d release/queue ]; then echo "release/queue is there"; else echo "release/queue is gone"; fi
}
before=$(describe)
rm -r release alone.sh && dvc checkout --quiet
after=$(describe); status=$(dvc status)
printf '%s\n' "as built:" "$before" "after a checkout:" "$after" "dvc status: $status"
[ "$before" = $'alone.sh may be executed\nrelease/run.sh may be executed\nrelease/queue is there' ]
[ "$after" = $'alone.sh may be executed\nrelease/run.sh may not be executed\nrelease/queue is gone' ]
grep --quiet "up to date" <<< "$status"
