"""Values that cannot be there by chance, and a search for them in whatever a file, a log or an answer may wrap them in."""

from __future__ import annotations

import binascii
import bz2
import lzma
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DEPTH = 2  # a gzip in base64, hex in UTF-16
_LIMIT_BYTES = 1 << 26
_TABLE_BITS = 24
_MIX = np.uint64(0x9E3779B97F4A7C15)
_PACKED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]|BZh[1-9]|\xfd7zXZ\x00|PK\x03\x04")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{12,}(?:\r?\n[A-Za-z0-9+/_-]{12,})*")
_HEX = re.compile(rb"[0-9a-fA-F]{8,}")
_WIDE_LITTLE, _WIDE_BIG = re.compile(rb"(?:[\x20-\x7e]\x00){6,}"), re.compile(rb"(?:\x00[\x20-\x7e]){6,}")
_TEXTUAL = ("base64", "hex")


class Search:
    """Looks for values of a table, by column: texts, numbers and timestamps.

    A number is looked for as text, as int32, int64, float32 and float64 (little endian, at any offset) and as a protobuf varint. Of
    four bytes alone some are found by chance in what is decoded as if it were base64 or hex, so there two must stand side by side.
    """

    def __init__(self, canaries: Mapping[str, Sequence[Any]]) -> None:
        self._forms: dict[int, dict[bytes, list[tuple[bytes, str]]]] = {4: {}, 8: {}}
        for column, values in canaries.items():
            for value in values:
                for form in forms(value):
                    width = 8 if len(form) >= 8 else 4
                    self._forms[width].setdefault(form[-width:], []).append((form, column))
        self._tables = {width: _table(list(keys), width) for width, keys in self._forms.items()}

    def columns_in(self, content: bytes) -> dict[str, set[str]]:
        """The columns of which a value is in the content, and in what it was wrapped there."""
        found: dict[str, set[str]] = {}
        for how, view in views(content, _DEPTH):
            is_textual = any(part in _TEXTUAL for part in how)
            for column in self._columns(view, is_textual):
                found.setdefault(column, set()).add(" in ".join(reversed(how)) or "plain")
        return found

    def _columns(self, view: bytes, is_textual: bool) -> Iterator[str]:
        for width in (4, 8):
            hits = dict(self._hits(view, width))
            for end, (form, column) in hits.items():
                if len(form) > 4 or not is_textual or end + 4 in hits:
                    yield column

    def _hits(self, view: bytes, width: int) -> Iterator[tuple[int, tuple[bytes, str]]]:
        """Where a form ends, and which one."""
        for shift in range(width):
            count = (len(view) - shift) // width
            words = np.frombuffer(view, f"<u{width}", max(count, 0), shift if count > 0 else 0)
            for index in np.flatnonzero(self._tables[width][_slots(words)]).tolist():
                start = shift + index * width
                end = start + width
                for form, column in self._forms[width].get(view[start:end], ()):
                    if view[end - len(form) : end] == form:
                        yield end, (form, column)


def forms(value: Any) -> list[bytes]:
    """The ways in which a value may be written."""
    if isinstance(value, str):
        return [value.encode()]
    if isinstance(value, datetime):
        seconds = value.replace(tzinfo=UTC).timestamp()
        micros = round(seconds * 1_000_000)
        texts = [value.isoformat(), value.isoformat(" "), value.isoformat(timespec="seconds")]
        numbers = [struct.pack("<q", micros), struct.pack("<q", micros * 1000), struct.pack("<q", micros // 1000)]
        return [text.encode() for text in texts] + [*numbers, struct.pack("<d", seconds), _varint(micros)]
    if isinstance(value, np.float32):
        return [value.tobytes()]
    numbers = [struct.pack("<d", value), struct.pack("<f", value), repr(value).encode()]
    if float(value).is_integer():
        whole = int(value)
        numbers += [struct.pack("<q", whole), _varint(whole), str(whole).encode()]
        numbers += [struct.pack("<i", whole)] if abs(whole) < 1 << 31 else []
    return numbers


def draw_numbers(random: np.random.Generator, low: float, high: float, count: int, *, whole: bool = False) -> list[Any]:
    """Different numbers of which no form of four bytes is plain text, so that no text holds one by chance."""
    drawn = random.uniform(low, high, 40 * count)
    drawn = np.round(drawn) if whole else drawn
    _, first = np.unique(drawn.astype("<f4"), return_index=True)
    drawn = drawn[first]
    good = _no_text(drawn.astype("<f4")) & (_no_text(drawn.astype("<i4")) if whole else True)
    chosen = random.permutation(drawn[good])[:count]
    assert len(chosen) == count, "too narrow a range"
    return [int(number) for number in chosen] if whole else chosen.tolist()


def draw_texts(random: np.random.Generator, prefix: str, count: int) -> list[str]:
    letters = np.array(list("bcdfghjkmnpqrstvwxz23456789"))
    return [f"{prefix}{''.join(word)}" for word in random.choice(letters, (count, 14))]


def views(content: bytes, depth: int) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """The content, and all that it may be the wrapping of."""
    yield (), content
    if depth:
        for how, view in _unwrapped(content):
            for more, inner in views(view, depth - 1):
                yield (how, *more), inner


def _unwrapped(content: bytes) -> Iterator[tuple[str, bytes]]:
    for found in _PACKED.finditer(content):
        if unpacked := _unpacked(content, found.start()):
            yield "compressed", unpacked
    runs = [re.sub(rb"\s", b"", run).translate(bytes.maketrans(b"-_", b"+/")) for run in _BASE64.findall(content)]
    for shift in range(4):
        yield "base64", b"\n".join(_from_base64(run[shift:]) for run in runs)
    runs = _HEX.findall(content)
    for shift in range(2):
        yield "hex", b"\n".join(binascii.unhexlify(run[shift : shift + (len(run) - shift) // 2 * 2]) for run in runs)
    yield "UTF-16", b"\n".join(run[::2] for run in _WIDE_LITTLE.findall(content))
    yield "UTF-16", b"\n".join(run[1::2] for run in _WIDE_BIG.findall(content))


def _from_base64(run: bytes) -> bytes:
    return binascii.a2b_base64(run[: len(run) // 4 * 4] + (run[len(run) // 4 * 4 :] + b"==")[: 4 * (len(run) % 4 > 1)])


def _unpacked(content: bytes, start: int) -> bytes:
    """What a compressed stream that begins here holds, as far as it can be read."""
    magic = content[start : start + 3]
    decompressor: Any
    if magic[:2] == b"PK":
        name, extra = struct.unpack("<HH", content[start + 26 : start + 30].ljust(4, b"\0"))
        start += 30 + name + extra
        decompressor = zlib.decompressobj(-15)
    elif magic == b"BZh":
        decompressor = bz2.BZ2Decompressor()
    elif magic[:1] == b"\xfd":
        decompressor = lzma.LZMADecompressor()
    else:
        decompressor = zlib.decompressobj(47)
    try:
        unpacked: bytes = decompressor.decompress(content[start:], _LIMIT_BYTES)
    except (zlib.error, OSError, lzma.LZMAError, EOFError):
        return b""
    return unpacked


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


def _no_text(numbers: NDArray[Any]) -> NDArray[np.bool_]:
    low = numbers.view("<u4")
    return (low & 0x8080) == 0x8080


def _table(keys: Sequence[bytes], width: int) -> NDArray[np.bool_]:
    table = np.zeros(1 << _TABLE_BITS, np.bool_)
    table[_slots(np.frombuffer(b"".join(keys), f"<u{width}"))] = True
    return table


def _slots(words: NDArray[Any]) -> NDArray[np.uint64]:
    return (words.astype(np.uint64) * _MIX) >> np.uint64(64 - _TABLE_BITS)
