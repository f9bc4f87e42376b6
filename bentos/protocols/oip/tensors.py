"""Tensors of the Open Inference Protocol to rows or columns, and answers to tensors, for HTTP and gRPC.

One input tensor holds one field of the schema and has its name, or that of a source column of the field; its shape is [rows] or [rows, 1].
Values are read as by `/predict` (`contract.schema`), so a row has the same answer over every protocol.

| kind of field            | datatype; others that are read too   | missing, if the field is optional         |
|--------------------------|--------------------------------------|-------------------------------------------|
| number                   | FP64; FP32, (U)INT*, BYTES           | NaN; null in JSON; no such tensor         |
| boolean                  | BOOL; BYTES, (U)INT*, FP*            | null in JSON; no such tensor              |
| category                 | BYTES; any other                     | null in JSON; no such tensor              |
| timestamp                | BYTES; (U)INT*, FP* if it has a unit | null in JSON; no such tensor              |
| all of them              |                                      | blank text; the table's missing values    |

Outputs, by the form of the task's answer: `probability` and `label`; `probabilities`, of shape [rows, labels] in the order of the
target's labels, and `label`; or `value`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from msgspec import Struct

from bentos.protocols.oip.kinds import ANY, FLOATS, INTEGERS, NUMBERS, wire_of
from contract.errors import InvalidRowsError, Problem, RequestError
from contract.model.columns.program import Columns, block_fields
from contract.model.columns.texts import Column, Texts
from contract.model.predictor import Outputs
from contract.model.row_program import Row
from contract.schema.schema import FeatureSchema
from contract.schema.tasks import TASKS, Form

# Datatype -> `struct`'s code for an element of a raw tensor.
_WIRE_TYPES = {"BOOL": "?", "FP32": "f", "FP64": "d", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q"} | {
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
}
_LENGTH = struct.Struct("<I")
_FP64 = np.dtype("<f8")
REMEMBERED = 64  # tables and readers, since callers repeat the same heads
FEW = 15  # rows; up to this number, encoding by row costs no more than by column
ValueReader = Callable[[bytes], Sequence[Any]]
Given = list[Row] | Columns
WireReader = Callable[[Sequence[bytes]], Given]
NumberReader = Callable[[Sequence[bytes]], Sequence[bytes] | None]
Head = tuple[str, str, int]  # of an input: name, datatype and number of rows
# Of inputs, in their order: the name, and the function that replaces the datatype's own missing value (NaN) by None, if it has one.
Table = list[tuple[str, Callable[[Sequence[Any]], Sequence[Any]] | None]]

# Only NaN differs from itself.
_MISSING: dict[str, Callable[[Sequence[Any]], Sequence[Any]]] = dict.fromkeys(
    FLOATS, lambda values: [value if value == value else None for value in values]
)
# By form; of quantiles each is an output of its own (`Target.quantile_outputs`), for a tensor does not name its columns.
OUTPUTS: dict[Form, dict[str, str]] = {
    "probability": {"probability": "FP64", "label": "BYTES"},
    "probabilities": {"probabilities": "FP64", "label": "BYTES"},
    "value": {"value": "FP64"},
}


class Tensor(Struct):
    """A named column of `width` Python values per row (float, int, bool, str; None for missing), row by row; width None means one."""

    name: str
    datatype: str
    values: Sequence[Any]
    width: int | None = None

    @property
    def shape(self) -> list[int]:
        """The shape, [rows] or [rows, width]."""
        return [len(self.values)] if self.width is None else [len(self.values) // self.width, self.width]


class TensorReader:
    """A reader of the tensors of a schema, into the same rows that `/predict` takes or into columns."""

    def __init__(self, schema: FeatureSchema) -> None:
        made = [(name, field) for field in schema.accepted for name in field.source]
        self._fields = dict(made) | {field.name: field for field in schema.accepted}
        self._accepted = {name: ANY for name, _ in made} | {
            field.name: wire_of(field).read for field in schema.accepted
        }
        # A field that may be made of other columns is checked when rows are made of them.
        self._required = [field.name for field in schema.fields if field.required and not field.source]
        self._read = {field.name: field for field in schema.fields}
        self._block = block_fields(schema)
        self._known_table = lru_cache(maxsize=REMEMBERED)(self._table)

    def check(self, name: str, datatype: str, shape: Sequence[int]) -> int:
        """Check a tensor's head against the schema, before its values are read; return its number of rows.

        Raises:
            InvalidRowsError: the input is unknown, or its datatype or shape does not fit.
        """
        accepted = self._accepted.get(name)
        if accepted is None:
            raise _invalid(name[:100], "unknown input")
        if datatype not in accepted:
            raise _invalid(name, f"must have one of the datatypes {', '.join(sorted(accepted))}")
        if len(shape) not in (1, 2) or shape[0] < 0 or (len(shape) == 2 and shape[1] != 1):
            raise _invalid(name, "must have the shape [rows] or [rows, 1]")
        return shape[0]

    def given(self, heads: tuple[Head, ...], columns: Sequence[Sequence[Any]]) -> Given:
        """Return the values of tensors as rows if they are few, else as columns.

        Args:
            heads: of the tensors, checked by `check`.
            columns: their values, as many as the heads say.

        Raises:
            RequestError: a required tensor is missing, two have one name, or their lengths differ.
        """
        table = self._known_table(heads)
        if _size(heads) <= FEW:
            return _joined(table, columns)
        values = {
            name: self._array(name, datatype, values)
            for (name, datatype, _), values in zip(heads, columns, strict=True)
        }
        return Columns(values, _size(heads), lambda: _joined(table, columns))

    def wire_reader(self, heads: tuple[Head, ...]) -> WireReader:
        """Return the reader of raw tensors of these heads, which does the same as `from_wire` and `given`.

        Raises:
            RequestError: the heads do not fit together; the reader raises it for contents that do not fit their heads.
        """
        table, size = self._table(heads), _size(heads)
        readers = [_wire_reader(*head) for head in heads]

        def read(contents: Sequence[bytes]) -> list[Row]:
            return _joined(table, [reader(content) for reader, content in zip(readers, contents, strict=True)])

        def read_columns(contents: Sequence[bytes]) -> Given:
            try:
                block = read_numbers(contents)
                values = {name: column(contents[place]) for place, name, column in others}
            except InvalidRowsError:
                return read(contents)  # raises with the exact problem of the first bad tensor
            return Columns(values, size, lambda: read(contents), block, joined)

        if size <= FEW:
            return _one_row_reader(heads, table, read) if size == 1 else read
        read_numbers, joined = self._block_reader(heads)
        others = [
            (place, head[0], _column_reader(*head) if head[0] in self._read else reader)
            for place, (head, reader) in enumerate(zip(heads, readers, strict=True))
            if head[0] not in joined
        ]
        return read_columns

    def _block_reader(self, heads: tuple[Head, ...]) -> tuple[NumberReader, frozenset[str]]:
        """Return a reader of `Columns.block`, and the names of the inputs in it.

        It reads nothing if a boolean is among the inputs, or a number of another datatype than FP64, which have no such block.
        """
        size, names = _size(heads), {name for name, _, _ in heads}
        joined = frozenset(field.name for field in self._block if field.name in names)
        is_block = all(datatype == "FP64" for name, datatype, _ in heads if name in joined)
        if not joined or not is_block or any(self._read[name].kind == "boolean" for name in joined):
            return lambda _: None, frozenset()
        places = {name: place for place, (name, _, _) in enumerate(heads)}
        sent = [places.get(field.name) for field in self._block]
        length, absent = size * _FP64.itemsize, np.full(size, np.nan, _FP64).tobytes()

        def read(contents: Sequence[bytes]) -> Sequence[bytes]:
            parts = [absent if place is None else contents[place] for place in sent]
            if {*map(len, parts)} != {length}:
                raise InvalidRowsError("the bytes of an input do not match its shape", [])
            return parts

        return read, joined

    def _array(self, name: str, datatype: str, values: Sequence[Any]) -> Column:
        """Return numbers of a number field as an array; other values unchanged, for the field's own parser."""
        if name in self._read and self._read[name].kind == "number" and datatype in NUMBERS:
            with suppress(OverflowError):
                return np.array(values, np.float64)
        return values

    def _table(self, heads: tuple[Head, ...]) -> Table:
        names = [name for name, _, _ in heads]
        if absent := [name for name in self._required if name not in names]:
            raise InvalidRowsError(
                "required inputs are absent", [Problem(None, name, "required, but absent") for name in absent]
            )
        if len(set(names)) != len(names):
            raise RequestError("two inputs have the same name")
        if len({size for _, _, size in heads}) > 1:
            raise RequestError("the inputs differ in their number of rows")
        return [(name, None if self._fields[name].required else _MISSING.get(datatype)) for name, datatype, _ in heads]


def _size(heads: Sequence[Head]) -> int:
    return heads[0][2] if heads else 0


def _joined(table: Table, columns: Sequence[Sequence[Any]]) -> list[Row]:
    """Return the rows of columns of equal length."""
    names = [name for name, _ in table]
    complete = [
        values if complete_with is None else complete_with(values)
        for (_, complete_with), values in zip(table, columns, strict=True)
    ]
    return [dict(zip(names, values, strict=True)) for values in zip(*complete, strict=True)]


def _one_row_reader(heads: Sequence[Head], table: Table, read: WireReader) -> WireReader:
    """Return a reader of one row that takes a third of the time; it leaves contents that do not fit to `read`, which raises."""
    columns = [
        (name, None if datatype == "BYTES" else struct.Struct(f"<{_WIRE_TYPES[datatype]}").unpack, missing is not None)
        for (name, datatype, _), (_, missing) in zip(heads, table, strict=True)
    ]

    def read_one(contents: Sequence[bytes]) -> Given:
        row: dict[str, Any] = {}
        try:
            for (name, unpack, is_optional), content in zip(columns, contents, strict=True):
                if unpack is None:
                    if content[: _LENGTH.size] != _LENGTH.pack(len(content) - _LENGTH.size):
                        return read(contents)
                    row[name] = content[_LENGTH.size :].decode()
                else:
                    (value,) = unpack(content)
                    row[name] = None if is_optional and value != value else value
        except (struct.error, UnicodeDecodeError):
            return read(contents)
        return [row]

    return read_one


def from_wire(head: Head, content: bytes) -> Sequence[Any]:
    """Return the values in OIP's raw representation: little-endian numbers, BYTES with lengths before them."""
    return _wire_reader(*head)(content)


@lru_cache(maxsize=REMEMBERED)
def _wire_reader(name: str, datatype: str, size: int) -> ValueReader:
    """Return a reader of `size` values in OIP's raw representation."""
    if datatype == "BYTES":
        return lambda content: from_texts(name, size, _items(name, size, content))
    numbers = struct.Struct(f"<{size}{_WIRE_TYPES[datatype]}")

    def read(content: bytes) -> Sequence[Any]:
        if len(content) != numbers.size:
            raise _invalid(name, f"holds {len(content)} bytes, not the {numbers.size} of its shape and datatype")
        return numbers.unpack(content)

    return read


def _column_reader(name: str, datatype: str, size: int) -> Callable[[bytes], Column]:
    """Return a reader of the same into a column of `contract.model.columns`, if possible without an object per value."""
    if datatype == "BYTES":
        return lambda content: Texts(content, size)
    dtype = np.dtype(_WIRE_TYPES[datatype]).newbyteorder("<")

    def read(content: bytes) -> Column:
        if len(content) != size * dtype.itemsize:
            raise _invalid(name, "its number of bytes does not match its shape and datatype")
        values = np.frombuffer(content, dtype)
        return values.view(np.uint8) != 0 if datatype == "BOOL" else values

    return read


def _items(name: str, size: int, content: bytes) -> list[bytes]:
    try:
        return Texts(content, size).items()
    except ValueError as error:
        raise _invalid(name, str(error)) from None


def from_texts(name: str, size: int, items: Sequence[bytes]) -> list[str]:
    """Return the UTF-8 elements of a BYTES tensor as text.

    Raises:
        InvalidRowsError: an element is not UTF-8, with the first such row; or their number is not `size`.
    """
    try:
        texts = [item.decode() for item in items]
    except UnicodeDecodeError as error:
        row = next(index for index, item in enumerate(items) if item == error.object)
        raise _invalid(name, "must be UTF-8", row=row) from None
    if len(texts) != size:
        raise _invalid(name, f"holds {len(texts)} elements, but its shape says {size}")
    return texts


def check_integers(name: str, datatype: str, values: Sequence[int | None]) -> None:
    """Raise InvalidRowsError for a number that is not of its datatype, which JSON and gRPC's typed contents can hold."""
    least, largest = INTEGERS[datatype]
    for row, value in enumerate(values):
        if value is not None and not least <= value <= largest:
            raise _invalid(name, f"must be between {least} and {largest}, as {datatype} is", row=row)


def to_wire(tensor: Tensor) -> bytes:
    """Return the values in OIP's raw representation; the datatype is one of `OUTPUTS`."""
    if tensor.datatype == "FP64":
        return struct.pack(f"<{len(tensor.values)}d", *tensor.values)
    elements = {text: _element(text) for text in set(tensor.values)}  # a model has few labels
    return b"".join(map(elements.__getitem__, tensor.values))


@lru_cache(maxsize=1024)
def _element(text: str) -> bytes:
    """Return an element of a BYTES tensor."""
    content = text.encode()
    return _LENGTH.pack(len(content)) + content


class TensorWriter:
    """A writer of the output tensors of a task."""

    def __init__(self, schema: FeatureSchema) -> None:
        own = dict.fromkeys(schema.target.quantile_outputs, "FP64")
        self._outputs = own or OUTPUTS[TASKS[schema.task].form]
        self._labels = schema.target.labels

    def requested(self, names: Sequence[str]) -> Sequence[str]:
        """Return the requested outputs, all of them if `names` is empty.

        Raises:
            RequestError: an output is unknown, or requested twice.
        """
        if unknown := [name[:100] for name in names if name not in self._outputs]:
            raise RequestError(f"unknown output {unknown[0]!r}; the model has {', '.join(self._outputs)}")
        if len(set(names)) != len(names):
            raise RequestError("an output is requested twice")
        return names or list(self._outputs)

    def tensors(self, outputs: Outputs, names: Sequence[str]) -> list[Tensor]:
        """Return the tensors of these outputs, in their order."""
        return [self._tensor(outputs[name], name) for name in names]

    def metadata(self) -> list[dict[str, Any]]:
        """Return name, datatype and shape of every output, in the form of the model's metadata."""
        return [
            {"name": name, "datatype": datatype, "shape": [-1, len(self._labels)] if name == "probabilities" else [-1]}
            for name, datatype in self._outputs.items()
        ]

    def _tensor(self, values: list[Any], name: str) -> Tensor:
        if name == "probabilities":
            return Tensor(name, self._outputs[name], list(chain.from_iterable(values)), len(self._labels))
        return Tensor(name, self._outputs[name], values)


def _invalid(name: str, problem: str, row: int | None = None) -> InvalidRowsError:
    return InvalidRowsError("an input does not fit the model", [Problem(row, name, problem)])
