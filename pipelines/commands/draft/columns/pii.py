"""Detection of personal data by a column's values and name; pure functions, and no value leaves them."""

from __future__ import annotations

import re
from collections.abc import Callable

import polars as pl

from pipelines.columns.identifiers import words

_SAMPLE = 2000
_PERSONAL = {
    "name", "firstname", "lastname", "fullname", "surname", "username", "mail", "email", "phone", "telephone", "mobile", "fax",
    "address", "street", "ssn", "iban", "passport", "ticket", "birth", "birthday", "birthdate", "dob", "ip",
}  # fmt: skip
_PERSONS = {
    "patient", "customer", "client", "user", "member", "passenger", "employee", "student", "person", "subscriber", "applicant",
    "borrower", "guest", "driver", "owner", "account",
}  # fmt: skip
_OCTET = r"(25[0-5]|2[0-4]\d|1?\d?\d)"
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")
_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}")
_CARD = re.compile(r"\d{4}([ -]?)\d{4,6}\1\d{4,5}(\1\d{1,4})?")
_IPV4 = re.compile(rf"{_OCTET}(\.{_OCTET}){{3}}")
_SSN = re.compile(r"(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}")
_PHONE = re.compile(r"(\+|00)\d[\d ().\-/]{6,20}|\(\d{2,5}\) ?\d{2,5}[ .\-/]?\d{3,6}|\d{3}[-. ]\d{3}[-. ]\d{4}")


def is_personal_name(name: str) -> bool:
    """Return whether a column's name stands for personal data, such as an address."""
    return bool(_PERSONAL & set(words(name)))


def is_of_a_person(name: str) -> bool:
    """Return whether an identifier of that name identifies a person."""
    return bool(_PERSONS & set(words(name))) or is_personal_name(name)


def pattern_of(values: pl.Series) -> str | None:
    """Return the pattern of personal data that more than half of a sample of distinct values match, in words, or None."""
    sample = values.unique(maintain_order=True).head(_SAMPLE).to_list()
    for name, matches in _PATTERNS.items():
        if sum(map(matches, sample)) > len(sample) / 2:
            return name
    return None


def _is_iban(text: str) -> bool:
    """Return whether a text is an IBAN.

    Source: ISO 13616, checked modulo 97 (ISO 7064).
    """
    text = text.replace(" ", "")
    if not _IBAN.fullmatch(text):
        return False
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1


def _is_card(text: str) -> bool:
    """Return whether a text is the number of a payment card.

    Source: Luhn's check digit, ISO/IEC 7812-1.
    """
    digits = [int(character) for character in text if character.isascii() and character.isdigit()]
    if not _CARD.fullmatch(text) or not 13 <= len(digits) <= 19:
        return False
    return sum(digits[-1::-2]) % 10 == -sum(sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]) % 10


def _full(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


_PATTERNS: dict[str, Callable[[str], bool]] = {
    "e-mail addresses": _full(_EMAIL),
    "bank accounts (IBAN)": _is_iban,
    "numbers of credit cards": _is_card,
    "IP addresses": _full(_IPV4),
    "social security numbers": _full(_SSN),
    "phone numbers": _full(_PHONE),
}
