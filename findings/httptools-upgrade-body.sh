#!/usr/bin/env bash
# httptools skips the body of a request that has Upgrade: the request is "complete" without it, and its bytes are left over.
# A server may ignore Upgrade (RFC 9110, section 7.8), and then the body is a body. Java's HttpClient and `curl --http2` send such requests.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check httptools==0.9.0
"$directory/venv/bin/python" - <<'PYTHON'
import importlib.metadata
import httptools

events = []


class Seen:
    def on_body(self, body):
        events.append(("body", body))

    def on_message_complete(self):
        events.append(("complete",))


HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\n"
try:
    httptools.HttpRequestParser(Seen()).feed_data(HEAD + b"abc")
except httptools.HttpParserUpgrade as stopped:
    events.append(("upgrade, left over", (HEAD + b"abc")[stopped.args[0] :]))
print("httptools", importlib.metadata.version("httptools"), events)
assert events == [("complete",), ("upgrade, left over", b"abc")], "changed"
PYTHON
