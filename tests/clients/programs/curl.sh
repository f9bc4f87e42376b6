# curl.sh [OPTION…] URL FILE…: one curl, and so one connection where it keeps them.
set -eu
flags="--silent"
while [ "${1#-}" != "$1" ]; do flags="$flags $1"; shift; done
url=$1; shift
files="$*"
set -- $flags --write-out '\n@%{http_code}\n' "$url/readyz"
for file in $files; do
  set -- "$@" --next $flags --write-out '\n@%{http_code}\n' -H 'Content-Type: application/json' --data-binary "@$file" "$url/predict"
done
curl "$@" | awk '/^@/ { print substr($0, 2), body; body = ""; next } { body = body $0 }'
