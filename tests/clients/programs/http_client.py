"""Ask with Python's http.client; also what asks through a proxy."""

import http.client
import sys
from pathlib import Path

address, *files = sys.argv[1:]
connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)


def say(method: str, path: str, body: bytes | None = None) -> None:
    connection.request(method, path, body, {"content-type": "application/json"} if body else {})
    answer = connection.getresponse()
    print(answer.status, answer.read().decode().replace("\n", " "))


say("GET", "/readyz")
for file in files:
    say("POST", "/predict", Path(file).read_bytes())
