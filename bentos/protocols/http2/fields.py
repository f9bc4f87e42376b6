"""Field sections of HTTP/2: reading those of requests (HPACK, RFC 7541; rules of RFC 9113, section 8), and writing those of answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Generic

from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError
from hpack.hpack import encode_integer

from bentos.protocols.http2.frames import ConnectionFault, ErrorCode
from bentos.protocols.http2.streams import Head

Fields = list[tuple[bytes, bytes]]

NO_TABLE = b"\x20"  # at the start of the server's first block: it uses no dynamic table, whatever size the peer allows
_STATUS_200 = b"\x88"
_REMEMBERED = 8  # blocks per connection: a caller's differ in little but their timeout
_REMEMBERED_BYTES = 1024  # of the longest of them
_FIELD_BYTES = 32  # of each field, beside its name and value
_COLON = ord(":")
_NAME = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
# Blanks around a value are allowed, though RFC 9113, section 8.2.1, forbids them: gRPC clients send them.
_VALUE = re.compile(rb"[^\0\r\n]*").fullmatch
_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))
_REQUIRED = frozenset((b":method", b":scheme", b":path"))
# RFC 9113, section 8.2.2.
_OF_CONNECTIONS = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))


class MalformedError(Exception):
    """The fields are not those of an HTTP/2 request."""


class FieldReader(Generic[Head]):
    """A reader of the field blocks of one connection, in their order.

    Callers repeat the same blocks. The result of `make` for a block is cached until a block changes the dynamic table, to which all of them
    refer.
    """

    def __init__(self, limit_bytes: int, make: Callable[[Fields], Head]) -> None:
        self._decoder = Decoder(limit_bytes)
        self._make = make
        self._known: dict[bytes, Head] = {}
        self._table = self._look_at_table()

    def read(self, block: bytes) -> Head:
        """Return the result of `make` for the fields of a request.

        Raises:
            MalformedError: the fields are not those of a request.
            ConnectionFault: the block cannot be decoded, and hence no later one.
        """
        head = self._known.get(block)
        if head is not None:
            return head
        table = self._table
        fields = self.decode(block)
        check_request(fields)
        head = self._make(fields)
        if self._table == table and len(block) <= _REMEMBERED_BYTES:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[block] = head
        return head

    def decode(self, block: bytes) -> Fields:
        """Return the fields of a block, unchecked."""
        try:
            fields = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except OversizedHeaderListError:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many fields") from None
        except (HPACKError, IndexError, ValueError) as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "a field block cannot be decoded") from error
        table = self._look_at_table()
        if table != self._table:
            self._table = table
            self._known.clear()
        return fields

    def _look_at_table(self) -> tuple[int, int, int]:
        """Return a mark that differs once the dynamic table has changed: each new entry is a new object at the front."""
        entries = self._decoder.header_table.dynamic_entries
        self._first = entries[0] if entries else None  # kept alive, so that no later entry can have the same id
        return id(self._first), len(entries), self._decoder.header_table.maxsize


def size_of(fields: Fields) -> int:
    """Return the size of a field section, as MAX_HEADER_LIST_SIZE counts it (RFC 9113, section 6.5.2)."""
    return sum([len(name) + len(value) + _FIELD_BYTES for name, value in fields])


def check_request(fields: Fields) -> None:
    """Raise MalformedError unless the fields are valid for a request. Source: RFC 9113, sections 8.2 and 8.3."""
    pseudo: dict[bytes, bytes] = {}
    regular = False
    for name, value in fields:
        if not _NAME(name) or not _VALUE(value):
            raise MalformedError
        if name[0] != _COLON:
            regular = True
            if name in _OF_CONNECTIONS or (name == b"te" and value.strip().lower() != b"trailers"):
                raise MalformedError
        elif regular or name in pseudo or name not in _PSEUDO:
            raise MalformedError
        else:
            pseudo[name] = value
    if not pseudo.keys() >= _REQUIRED or not pseudo[b":path"]:
        raise MalformedError


def block(fields: Iterable[tuple[bytes, bytes]], status: int = 0) -> bytes:
    """Return a block of these fields, with the status of a response if given, as literals, which do not change the dynamic table."""
    pseudo = [(b":status", b"%d" % status)] if status else []
    return b"".join(_literal(*field) for field in (*pseudo, *fields))


def _literal(name: bytes, value: bytes) -> bytes:
    if (name, value) == (b":status", b"200"):
        return _STATUS_200
    return b"".join((b"\0", encode_integer(len(name), 7), name, encode_integer(len(value), 7), value))
