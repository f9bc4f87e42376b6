"""Watch Airflow from outside and tell people when nothing makes progress: `bin/airflow-watch [--once | --test]`.

The scheduler cannot tell that it hangs, and its health check may stay green. So this asks the API server, which asks the database: is
there a month, a run or a task that waits for longer than the limit while nothing moves? It sends one message when progress stops, when
Airflow does not answer for as long, again every six hours, and one when it goes on. Runs with any Python from 3.11 on.

    --once     look once; exit code 0: progress, 1: none (for cron, or a probe of yours)
    --test     send a message to try the receivers

    BULKHEAD_ALERTS             file of the receivers; default `<var>/airflow/alerts.toml`
    BULKHEAD_AIRFLOW_URL        default that of `bin/airflow-local`
    BULKHEAD_AIRFLOW_USER       default `admin`
    BULKHEAD_AIRFLOW_PASSWORD   a file with the user's password; default that of `bin/airflow-local`
    BULKHEAD_PROGRESS_LIMIT_S   how long something may wait; default 900
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from operations.messages import SETTINGS, Message, SettingsError, receivers
from operations.places import PROJECT, VAR

HOME = PROJECT / os.environ.get("BULKHEAD_AIRFLOW_HOME", str(VAR / "airflow"))
URL = os.environ.get("BULKHEAD_AIRFLOW_URL") or f"http://127.0.0.1:{os.environ.get('BULKHEAD_AIRFLOW_PORT', '8088')}"
USER = os.environ.get("BULKHEAD_AIRFLOW_USER", "admin")
PASSWORD = Path(os.environ.get("BULKHEAD_AIRFLOW_PASSWORD", HOME / "passwords.json"))
STATE = HOME / "watch.json"  # so that `--once` from cron sends one message too
AGAIN_S = 6 * 3600.0
ANSWER_LIMIT_S = 20.0
TODO = (
    "look whether the scheduler runs and what its log says last; restart it when it hangs (`bin/airflow-local down`, then `up`): "
    "nothing is lost, tasks in flight are tried again"
)


def main(arguments: list[str]) -> int:
    """Run the command and return its exit code."""
    verbs = {(): watch, ("--once",): look, ("--test",): try_receivers}
    if tuple(arguments) not in verbs:
        is_asked = tuple(arguments) in (("--help",), ("-h",))
        print(__doc__, file=sys.stdout if is_asked else sys.stderr)
        return 0 if is_asked else 64
    os.environ.setdefault(SETTINGS, str(HOME / "alerts.toml"))
    try:
        if not URL.startswith(("http://", "https://")):
            raise SettingsError(f"BULKHEAD_AIRFLOW_URL: {URL!r} is no http:// or https:// URL")
        limit_s()
        return verbs[tuple(arguments)]()
    except SettingsError as error:
        print(f"airflow-watch stopped: {error}", file=sys.stderr)
        return 78


def watch() -> int:
    """Look again and again, until a signal."""
    print(f"watching {URL}; a message is sent when nothing moved for {limit_s():g} s", flush=True)
    while True:
        look()
        time.sleep(min(30.0, limit_s() / 3))


def limit_s() -> float:
    """Return how long something may wait.

    Raises:
        SettingsError: the variable is not a number of seconds.
    """
    said = os.environ.get("BULKHEAD_PROGRESS_LIMIT_S") or "900"
    with suppress(ValueError):
        if 0 < (found := float(said)) < float("inf"):
            return found
    raise SettingsError(f"BULKHEAD_PROGRESS_LIMIT_S: {said!r} is not a number of seconds, such as 900")


def look() -> int:
    """Look once; send a message when progress stopped or goes on; return 1 while there is none."""
    state = kept()
    now = time.time()
    try:
        waiting = ask()
        state.pop("silent_since", None)
        news = stalled(waiting) if waiting else None
    except SettingsError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as error:
        silent_since = state.setdefault("silent_since", now)
        news = silent(error) if now - silent_since >= limit_s() else None
        if news is None:  # not yet known to be more than a restart
            if silent_since == now:
                print(f"no answer from {URL} ({reason(error)}); told when it lasts {limit_s():g} s", flush=True)
            keep(state)
            return 1 if state.get("told") else 0
    told: float | None = state.get("told")
    if news is not None and (told is None or now - told >= AGAIN_S):
        if tell(news):  # else the next look tries again
            state["told"] = now
    elif news is None and state.pop("told", None) is not None:
        tell(Message(title="Airflow makes progress again", todo="nothing", link=URL))
    keep(state)
    return 0 if news is None else 1


def try_receivers() -> int:
    """Send a message to try the receivers."""
    if not receivers():
        raise SettingsError(f"{os.environ[SETTINGS]} is missing, or names neither a webhook nor an [email]")
    return 0 if tell(Message(title="Bulkhead: a message to try the alerts", todo="nothing", link=URL)) else 1


# ---- messages ----
def stalled(waiting: list[dict[str, Any]]) -> Message:
    """Return the message about what waits."""
    first = waiting[0]
    named = [first[part] for part in ("dag", "month", "task") if first[part]]
    more = f", and {len(waiting) - 1} more" if waiting[1:] else ""
    link = URL + (f"/dags/{first['dag']}" if first["dag"] else "") + (f"/runs/{first['run']}" if first["run"] else "")
    return Message(
        title=f"No progress: {' '.join([*named, first['what']])} since {first['since'][:16]} UTC{more}",
        todo=TODO,
        dag=first["dag"] or "",
        month=first["month"] or "",
        task=first["task"] or "",
        run=first["run"] or "",
        link=link,
    )


def silent(error: Exception) -> Message:
    """Return the message about an Airflow that does not answer."""
    return Message(title=f"Airflow does not answer ({reason(error)})", todo=TODO, link=URL)


def reason(error: Exception) -> str:
    """Return why there is no answer: a file without which nothing can be asked, or the kind of the failure."""
    if isinstance(error, FileNotFoundError):
        return f"{error.filename}, the password of {USER}, is missing"
    code = f" {error.code}" if isinstance(error, urllib.error.HTTPError) else ""
    return f"{type(error).__name__}{code}"


def tell(message: Message) -> bool:
    """Send a message, print it and what failed, and return whether anybody was told."""
    to = receivers()
    failed = to.send(message)
    print(f"{time.strftime('%FT%TZ', time.gmtime())} {message.title}", *failed, sep="; not sent: ", flush=True)
    return len(failed) < max(1, len(to))


def kept() -> dict[str, Any]:
    """Return what `keep` kept; nothing if the file is missing or broken."""
    try:
        state: dict[str, Any] = json.loads(STATE.read_bytes())
    except (OSError, ValueError):
        return {}
    return state


def keep(state: dict[str, Any]) -> None:
    """Keep what was told."""
    STATE.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # on another machine Airflow has made none
    STATE.write_text(json.dumps(state))


# ---- Airflow ----
def ask() -> list[dict[str, Any]]:
    """Return what waits."""
    token = call("POST", "/auth/token", {"username": USER, "password": password()})["access_token"]
    found: list[dict[str, Any]] = call("GET", f"/bulkhead/progress/details?limit_s={limit_s()}", token=token)
    return found


def call(method: str, path: str, body: dict[str, str] | None = None, token: str = "") -> Any:
    """Return the API server's answer."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    content = json.dumps(body).encode() if body else None
    request = urllib.request.Request(URL + path, method=method, data=content, headers=headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=ANSWER_LIMIT_S) as answer:  # noqa: S310
        return json.load(answer)


def password() -> str:
    """Return the user's password: the file's text, or its entry in JSON such as `bin/airflow-local` writes.

    Raises:
        SettingsError: the file has no such user.
    """
    text = PASSWORD.read_text().strip()
    if not text.startswith("{"):
        return text
    passwords: dict[str, str] = json.loads(text)
    if USER not in passwords:
        raise SettingsError(f"{PASSWORD}: no password of {USER!r}; it has {', '.join(passwords)}")
    return passwords[USER]
