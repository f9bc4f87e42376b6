"""Messages to people about what failed or stands still: to a webhook, by e-mail, or both; to nobody without a file of settings.

A message names the DAG, the month and the task, says what to do, and links to it. It holds no value of any table and no text of an
exception, which may quote one. Standard library only: `bin/airflow-watch` runs without Airflow.

    webhook = "https://hooks.example.com/services/…"    # Slack, Mattermost and Rocket.Chat show `text`

    [email]
    host = "smtp.example.com"
    sender = "airflow@example.com"
    to = ["data-team@example.com"]
    user = "airflow"                                    # and the rest: optional
    password_file = "/run/secrets/smtp"
    port = 587
    starttls = true
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

SETTINGS = "BULKHEAD_ALERTS"  # the variable that names the file
_LIMIT_S = 10.0


class SettingsError(ValueError):
    """The file of settings is wrong; the message says where."""


@dataclass(frozen=True)
class Message:
    """One message; what does not apply is empty."""

    title: str
    todo: str
    dag: str = ""
    month: str = ""
    task: str = ""
    run: str = ""
    link: str = ""

    @property
    def text(self) -> str:
        """The message as plain text."""
        named = ("dag", "month", "task", "run", "link")
        lines = [f"{name}: {value}" for name in named if (value := getattr(self, name))]
        return "\n".join([self.title, *lines, f"what to do: {self.todo}"])


@dataclass(frozen=True)
class Email:
    """The settings for sending an e-mail."""

    host: str
    sender: str
    to: list[str]
    user: str = ""
    password_file: str = ""
    port: int = 587
    starttls: bool = True

    def send(self, message: Message) -> None:
        """Send the message.

        Raises:
            OSError: the server cannot be reached or refuses it (`smtplib.SMTPException` is one), or the password's file cannot be read.
        """
        # Imported here, since Airflow imports this module at the start of every task.
        import smtplib
        from email.message import EmailMessage

        mail = EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = message.title, self.sender, ", ".join(self.to)
        mail.set_content(message.text)
        with smtplib.SMTP(self.host, self.port, timeout=_LIMIT_S) as server:
            if self.starttls:
                import ssl

                server.starttls(context=ssl.create_default_context())
            if self.user:
                server.login(self.user, Path(self.password_file).read_text().strip())
            server.send_message(mail)


@dataclass(frozen=True)
class Receivers:
    """The receivers of messages."""

    webhook: str | None = None
    email: Email | None = None

    def send(self, message: Message) -> list[str]:
        """Send the message everywhere; return what failed, without addresses: a webhook's is a secret."""
        return [f"{name}: {_said(error)}" for name, send in self._ways() if (error := _attempt(send, message))]

    def __len__(self) -> int:
        return len(list(self._ways()))

    def _ways(self) -> Iterator[tuple[str, Callable[[Message], None]]]:
        if self.webhook:
            yield "webhook", self._call
        if self.email:
            yield "e-mail", self.email.send

    def _call(self, message: Message) -> None:
        import urllib.request

        content = json.dumps({"text": message.text, **asdict(message)}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(str(self.webhook), data=content, headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=_LIMIT_S):  # noqa: S310 - `_web` has checked the scheme
            pass


def receivers() -> Receivers:
    """Return the receivers of the file that `BULKHEAD_ALERTS` names; none without the variable or the file.

    Raises:
        SettingsError: the file is wrong.
    """
    import tomllib

    name = os.environ.get(SETTINGS)
    if not name or not Path(name).exists():
        return Receivers()
    try:
        document = tomllib.loads(Path(name).read_text(encoding="utf-8"))
        email = document.pop("email", None)
        return Receivers(email=_checked(Email, email, "email.") if email is not None else None, **_web(document))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{name}: {error}") from error


def _web(document: dict[str, Any]) -> dict[str, str]:
    if unknown := sorted(set(document) - {"webhook"}):
        raise SettingsError(f"{', '.join(unknown)}: unknown; known are webhook and [email]")
    address = document.get("webhook", "https://")
    if not isinstance(address, str) or not address.startswith(("https://", "http://")):
        raise SettingsError("webhook: must be an http:// or https:// URL")
    return document


def _checked(kind: type[Email], values: Any, prefix: str) -> Email:
    known = {field.name: field for field in fields(kind)}
    if not isinstance(values, dict):
        raise SettingsError(f"{prefix[:-1]}: must be a table")
    if unknown := sorted(set(values) - set(known)):
        raise SettingsError(f"{prefix}{unknown[0]}: unknown; known are {', '.join(known)}")
    if missing := sorted({"host", "sender", "to"} - set(values)):
        raise SettingsError(f"{prefix}{missing[0]}: missing")
    types = {"to": list, "port": int, "starttls": bool}
    for name, value in values.items():
        if not isinstance(value, types.get(name, str)):
            raise SettingsError(f"{prefix}{name}: must be of type {types.get(name, str).__name__}")
    return kind(**values)


def _attempt(send: Callable[[Message], None], message: Message) -> Exception | None:
    """Send a message, twice if need be; return the last error."""
    caught: Exception | None = None
    for _ in range(2):
        try:
            send(message)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not fail the run that the message is about
            caught = error
        else:
            return None
    return caught


def _said(error: Exception) -> str:
    """Return an error without what it may quote."""
    code = getattr(error, "code", None) or getattr(error, "smtp_code", None) or getattr(error, "errno", None)
    return f"{type(error).__name__} {code}" if code else type(error).__name__
