#!/usr/bin/env bash
# A conditional write is not repeated where the connection is reset before the answer, though plain writes are: it may have happened.
# A certificate that is its own authority (openssl's default for self-signed ones) is refused even where SSL_CERT_FILE names it.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check obstore==0.12.1
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 \
  -keyout "$directory/key.pem" -out "$directory/certificate.pem" 2>/dev/null
cat > "$directory/program.py" <<'PYTHON'
import importlib.metadata
import os
import socket
import ssl
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from obstore.store import S3Store


class Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    puts = 0

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.send_response(200)
        for name, value in (("ETag", '"1"'), ("Content-Length", "1"), ("Last-Modified", "Sun, 29 Nov 2026 12:00:00 GMT")):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"1")

    def do_PUT(self):
        """Reset the connection instead of an answer."""
        type(self).puts += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())


def serve(certificate=None):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    server.daemon_threads = True
    server.handle_error = lambda *arguments: None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{certificate}/certificate.pem", f"{certificate}/key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def opened(url):
    return S3Store(
        "bucket", endpoint=url, access_key_id="a", secret_access_key="b", region="r", client_options={"allow_http": True}, retry_config={"max_retries": 1}
    )


def outcome(action):
    try:
        action()
        return "ok"
    except Exception as error:
        return next((word for word in ("CaUsedAsEndEntity", "retries, max_retries") if word in str(error)), type(error).__name__)


def puts(**options):
    Requests.puts = 0
    outcome(lambda: store.put("key", b"1", **options))
    return Requests.puts


port = serve()
store = opened(f"http://127.0.0.1:{port}")
found = {
    "puts": {"plain": puts(), "conditional": puts(mode="create")},
    "self-signed": outcome(lambda: opened(f"https://127.0.0.1:{serve(os.path.dirname(__file__))}").get("key")),
}
print("obstore", importlib.metadata.version("obstore"), found)
assert found == {
    "puts": {"plain": 2, "conditional": 1},
    "self-signed": "CaUsedAsEndEntity",
}, "changed"
PYTHON
SSL_CERT_FILE="$directory/certificate.pem" "$directory/venv/bin/python" "$directory/program.py"
