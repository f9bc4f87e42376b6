"""Tensors of the Open Inference Protocol to rows or columns, and answers to tensors; shared by the HTTP and the gRPC front end.

One input tensor stands for one field of the schema and has its name, or for a column of the source that the field is made of; its shape
is [rows] or [rows, 1]. Values are read as `/predict` reads them (`contract.schema`), so that a row has one answer, however it is sent.

| kind of field            | datatype; others that are read too   | missing, where the field is optional      |
|--------------------------|--------------------------------------|-------------------------------------------|
| number                   | FP64; FP32, (U)INT*, BYTES           | NaN; null in JSON; no such tensor         |
| boolean                  | BOOL; BYTES, (U)INT*, FP*            | null in JSON; no such tensor              |
| category                 | BYTES; any other                     | null in JSON; no such tensor              |
| timestamp                | BYTES; (U)INT*, FP* if it has a unit | null in JSON; no such tensor              |
| all of them              |                                      | blank text; what the table has for missing |

Outputs, by the form of the task's answer: `probability` and `label`; `probabilities`, of shape [rows, labels] in the order of the
target's labels, and `label`; or `value`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from bentos.protocols.oip.kinds import ANY, FLOATS, NUMBERS, wire_of
from contract.errors import InvalidRowsError, Problem, RequestError
from contract.model.columns.program import Columns
from contract.model.columns.readers import Column
from contract.model.predictor import Outputs
from contract.model.row_program import Row
from contract.schema.schema import FeatureSchema
from contract.schema.tasks import TASKS, Form

# Elements of raw tensors, as `struct` names them.
_WIRE_TYPES = {"BOOL": "?", "FP32": "f", "FP64": "d", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q"} | {
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
}
_LENGTH = struct.Struct("<I")
REMEMBERED = 64  # tables, readers: callers send the same ones again and again
FEW = 15  # rows that cost no more one by one than as columns
ValueReader = Callable[[bytes], Sequence[Any]]
Given = list[Row] | Columns
WireReader = Callable[[Sequence[bytes]], Given]
Head = tuple[str, str, int]  # of an input: name, datatype and number of rows
# Of inputs, in their order: the name, and what puts None for the datatype's own spelling of missing, where there is one.
Table = list[tuple[str, Callable[[Sequence[Any]], Sequence[Any]] | None]]

# Only NaN differs from itself.
_MISSING: dict[str, Callable[[Sequence[Any]], Sequence[Any]]] = dict.fromkeys(
    FLOATS, lambda values: [value if value == value else None for value in values]
)
OUTPUTS: dict[Form, dict[str, str]] = {
    "probability": {"probability": "FP64", "label": "BYTES"},
    "probabilities": {"probabilities": "FP64", "label": "BYTES"},
    "value": {"value": "FP64"},
}


@dataclass(slots=True)  # not frozen: that would cost three times as much to make, and there is one a field and request
class Tensor:
    """A named column: `width` Python values a row (float, int, bool, str, or None for missing), row after row."""

    name: str
    datatype: str
    values: Sequence[Any]
    width: int | None = None

    @property
    def shape(self) -> list[int]:
        return [len(self.values)] if self.width is None else [len(self.values) // self.width, self.width]


class TensorReader:
    """Checks tensors against a schema and turns them into the rows that `/predict` would have been sent, or into columns."""

    def __init__(self, schema: FeatureSchema) -> None:
        made = [(name, field) for field in schema.accepted for name in field.source]
        self._fields = dict(made) | {field.name: field for field in schema.accepted}
        self._accepted = {name: ANY for name, _ in made} | {
            field.name: wire_of(field).read for field in schema.accepted
        }
        # Whether a field is there that can be made of other columns is seen when rows are made of them.
        self._required = [field.name for field in schema.fields if field.required and not field.source]
        self._read = {field.name: field for field in schema.fields}
        self._known_table = lru_cache(maxsize=REMEMBERED)(self._table)

    def check(self, name: str, datatype: str, shape: Sequence[int]) -> int:
        """The number of rows of a tensor whose head fits the schema; to be asked before its values are read."""
        accepted = self._accepted.get(name)
        if accepted is None:
            raise _invalid(name[:100], "unknown input")
        if datatype not in accepted:
            raise _invalid(name, f"must have one of the datatypes {', '.join(sorted(accepted))}")
        if len(shape) not in (1, 2) or shape[0] < 0 or (len(shape) == 2 and shape[1] != 1):
            raise _invalid(name, "must have the shape [rows] or [rows, 1]")
        return shape[0]

    def given(self, heads: tuple[Head, ...], columns: Sequence[Sequence[Any]]) -> Given:
        """What the values of tensors give: rows where they are few, else columns.

        Args:
            heads: of the tensors, checked by `check`.
            columns: their values, as many as the heads say.

        Raises:
            RequestError: a tensor is absent, there twice, or of another length than others.
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
        """What reads tensors in the raw representation, as `from_wire` and `given` together.

        Raises:
            RequestError: they make no table; and the reader raises it for contents that do not fit.
        """
        table, size = self._table(heads), _size(heads)
        readers = [_wire_reader(*head) for head in heads]

        def read(contents: Sequence[bytes]) -> list[Row]:
            return _joined(table, [reader(content) for reader, content in zip(readers, contents, strict=True)])

        def read_columns(contents: Sequence[bytes]) -> Given:
            try:
                values = {name: reader(content) for (name, reader), content in zip(columns, contents, strict=True)}
            except InvalidRowsError:
                return read(contents)  # which says what is wrong with the first one
            return Columns(values, size, lambda: read(contents))

        if size <= FEW:
            return _one_row_reader(heads, table, read) if size == 1 else read
        columns = [
            (head[0], _column_reader(*head) if head[0] in self._read else reader)
            for head, reader in zip(heads, readers, strict=True)
        ]
        return read_columns

    def _array(self, name: str, datatype: str, values: Sequence[Any]) -> Column:
        """The values as an array, where the field's own parser need not see each of them."""
        if name in self._read and self._read[name].kind == "number" and datatype in NUMBERS:
            with suppress(OverflowError):
                return np.array(values, np.float64)
        return values

    def _table(self, heads: tuple[Head, ...]) -> Table:
        names = [name for name, _, _ in heads]
        if absent := [name for name in self._required if name not in names]:
            raise InvalidRowsError(
                "inputs are absent", [Problem(None, name, "required, but absent") for name in absent]
            )
        if len(set(names)) != len(names):
            raise RequestError("two inputs have the same name")
        if len({size for _, _, size in heads}) > 1:
            raise RequestError("the inputs differ in their number of rows")
        return [(name, None if self._fields[name].required else _MISSING.get(datatype)) for name, datatype, _ in heads]


def _size(heads: Sequence[Head]) -> int:
    return heads[0][2] if heads else 0


def _joined(table: Table, columns: Sequence[Sequence[Any]]) -> list[Row]:
    """One row for every position of the columns, which are of equal length."""
    names = [name for name, _ in table]
    complete = [
        values if complete_with is None else complete_with(values)
        for (_, complete_with), values in zip(table, columns, strict=True)
    ]
    return [dict(zip(names, values, strict=True)) for values in zip(*complete, strict=True)]


def _one_row_reader(heads: Sequence[Head], table: Table, read: WireReader) -> WireReader:
    """The same for one row, in a third of the time; whatever does not fit is left to `read`, which says what it is."""
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
    """The values that lie in `content` as OIP's raw representation: little-endian numbers, BYTES with lengths."""
    return _wire_reader(*head)(content)


@lru_cache(maxsize=REMEMBERED)
def _wire_reader(name: str, datatype: str, size: int) -> ValueReader:
    """Reads so many values of that representation."""
    if datatype == "BYTES":
        return lambda content: from_texts(name, size, _split(name, content))
    numbers = struct.Struct(f"<{size}{_WIRE_TYPES[datatype]}")

    def read(content: bytes) -> Sequence[Any]:
        if len(content) != numbers.size:
            raise _invalid(name, f"holds {len(content)} bytes, not the {numbers.size} of its shape and datatype")
        return numbers.unpack(content)

    return read


def _column_reader(name: str, datatype: str, size: int) -> Callable[[bytes], Column]:
    """Reads the same as a column of `contract.columns`, without an object for each value where that can be."""
    if datatype == "BYTES":
        return lambda content: _texts(name, size, content)
    dtype = np.dtype(_WIRE_TYPES[datatype]).newbyteorder("<")

    def read(content: bytes) -> Column:
        if len(content) != size * dtype.itemsize:
            raise _invalid(name, "holds another number of bytes than its shape and datatype say")
        values = np.frombuffer(content, dtype)
        return values.view(np.uint8) != 0 if datatype == "BOOL" else values

    return read


def _texts(name: str, size: int, content: bytes) -> Column:
    """The elements of a BYTES tensor: in an array of `V` where all have one length."""
    width = content[0] if content else 0
    step = _LENGTH.size + width
    if (
        width
        and len(content) == size * step
        and content[::step] == content[:1] * size
        and content[1::step] == content[2::step] == content[3::step] == bytes(size)  # the rest of each length
    ):
        return np.ndarray(size, _void(width), content, _LENGTH.size, (step,))
    items = _split(name, content)
    if len(items) != size:
        raise _invalid(name, "holds another number of elements than its shape says")
    return items


@lru_cache(maxsize=REMEMBERED)
def _void(width: int) -> np.dtype[np.void]:
    return np.dtype((np.void, width))


def _split(name: str, content: bytes) -> list[bytes]:
    items = []
    position, end, length_at = 0, len(content), _LENGTH.unpack_from
    try:
        while position < end:
            start = position + _LENGTH.size
            position = start + length_at(content, position)[0]
            items.append(content[start:position])
    except struct.error:
        raise _invalid(name, "ends within the length of an element") from None
    if position > len(content):
        raise _invalid(name, "ends within an element")
    return items


def from_texts(name: str, size: int, items: Sequence[bytes]) -> list[str]:
    """UTF-8 elements of a BYTES tensor as text.

    Raises:
        InvalidRowsError: naming the first row that is not UTF-8.
    """
    try:
        texts = [item.decode() for item in items]
    except UnicodeDecodeError as error:
        row = next(index for index, item in enumerate(items) if item == error.object)
        raise _invalid(name, "must be UTF-8", row=row) from None
    if len(texts) != size:
        raise _invalid(name, f"holds {len(texts)} elements, but its shape says {size}")
    return texts


def to_wire(tensor: Tensor) -> bytes:
    """The values in OIP's raw representation. Datatypes: those of `OUTPUTS`."""
    if tensor.datatype == "FP64":
        return struct.pack(f"<{len(tensor.values)}d", *tensor.values)
    return b"".join(map(_element, tensor.values))


@lru_cache(maxsize=1024)
def _element(text: str) -> bytes:
    """An element of BYTES. A model has few labels."""
    content = text.encode()
    return _LENGTH.pack(len(content)) + content


class TensorWriter:
    """Turns answers into the output tensors of a task."""

    def __init__(self, schema: FeatureSchema) -> None:
        self._outputs = OUTPUTS[TASKS[schema.task].form]
        self._labels = schema.target.labels

    def requested(self, names: Sequence[str]) -> Sequence[str]:
        """The outputs that a request asks for, all of them if it names none.

        Raises:
            RequestError: one that there is not.
        """
        if unknown := [name[:100] for name in names if name not in self._outputs]:
            raise RequestError(f"unknown output {unknown[0]!r}; there are {', '.join(self._outputs)}")
        if len(set(names)) != len(names):
            raise RequestError("an output is requested twice")
        return names or list(self._outputs)

    def tensors(self, outputs: Outputs, names: Sequence[str]) -> list[Tensor]:
        return [self._tensor(outputs[name], name) for name in names]

    def metadata(self) -> list[dict[str, Any]]:
        """Name, datatype and shape of every output, as the model's metadata say it."""
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
