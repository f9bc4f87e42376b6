"""Tensors to rows and back, on a literal schema."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bentos.protocols.oip import tensors
from bentos.protocols.oip.kinds import DATATYPES
from bentos.protocols.oip.tensors import TensorReader, TensorWriter
from contract.errors import InvalidRowsError, RequestError
from contract.model.columns.program import Columns
from contract.model.encoder import Encoder, by_fallback
from contract.model.row_program import Row
from contract.schema.kinds import REQUESTED
from contract.schema.schema import Feature, FeatureSchema, Field, Target

SCHEMA = FeatureSchema(
    name="toy",
    task="binary",
    target=Target("late", ("no", "yes"), 0.5),
    fields=(
        Field("carrier", "category"),
        Field("gate", "category", required=False),
        Field("at", "timestamp", required=False),
        Field("distance", "number"),
        Field("wind", "number", required=False),
        Field("night", "boolean", required=False),
    ),
    features=(),
)
READER = TensorReader(SCHEMA)
WRITER = TensorWriter(SCHEMA)
CARRIER = ("carrier", "BYTES", ["AA", "UA"])
DISTANCE = ("distance", "FP64", [1.0, 2.0])


def rows(*given: tuple[str, str, list[Any]]) -> list[Row]:
    """Of tensors, each with its values."""
    heads = tuple((name, datatype, len(values)) for name, datatype, values in given)
    read = READER.given(heads, [values for _, _, values in given])
    assert isinstance(read, list)
    return read


def test_columns_become_rows() -> None:
    assert rows(DISTANCE, CARRIER, ("night", "BOOL", [True, False])) == [
        {"carrier": "AA", "distance": 1.0, "night": True},
        {"carrier": "UA", "distance": 2.0, "night": False},
    ]


@pytest.mark.parametrize(
    ("name", "datatype", "values", "expected"),
    [
        ("wind", "FP64", [math.nan, 3.0], [None, 3.0]),
        ("wind", "FP32", [None, math.nan], [None, None]),
        ("wind", "INT32", [None, 0], [None, 0]),
        ("gate", "BYTES", [None, "B7"], [None, "B7"]),
        ("night", "FP32", [math.nan, 1.0], [None, 1.0]),
        ("night", "BOOL", [None, False], [None, False]),
    ],
)
def test_optional_field_is_missing_when_its_datatype_says_so(
    name: str, datatype: str, values: list[Any], expected: list[Any]
) -> None:
    assert [row[name] for row in rows(CARRIER, DISTANCE, (name, datatype, values))] == expected


def test_deprecated_field_may_be_sent_as_a_tensor() -> None:
    reader = TensorReader(replace(SCHEMA, deprecated=(Field("fog", "number", required=False),)))
    assert reader.check("fog", "FP64", [2]) == 2
    heads = tuple((name, datatype, len(values)) for name, datatype, values in (CARRIER, DISTANCE))
    read = reader.given((*heads, ("fog", "FP64", 2)), [CARRIER[2], DISTANCE[2], [1.0, math.nan]])
    assert isinstance(read, list)
    assert read[0]["carrier"] == "AA"
    with pytest.raises(InvalidRowsError, match="an input does not fit"):
        READER.check("fog", "FP64", [2])


def test_required_field_keeps_its_value_so_that_the_schema_can_refuse_it() -> None:
    (row, _) = rows(("carrier", "BYTES", ["", "UA"]), ("distance", "FP64", [math.nan, 1.0]))
    assert row["carrier"] == ""
    assert math.isnan(row["distance"])


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ([CARRIER], "distance"),
        ([CARRIER, DISTANCE, DISTANCE], "same name"),
        ([CARRIER, ("distance", "FP64", [1.0])], "number of rows"),
    ],
)
def test_tensors_are_refused_when_they_make_no_table(given: list[tuple[str, str, list[Any]]], complaint: str) -> None:
    heads = tuple((name, datatype, len(values)) for name, datatype, values in given)
    for read in (lambda: rows(*given), lambda: READER.wire_reader(heads)):
        with pytest.raises(RequestError) as error:
            read()
        assert complaint in str(error.value)


@pytest.mark.parametrize("shape", [[3], [3, 1], [0]])
def test_shape_is_accepted_when_it_is_one_column(shape: list[int]) -> None:
    assert READER.check("distance", "FP64", shape) == shape[0]


@pytest.mark.parametrize(
    ("name", "datatype", "shape"),
    [
        ("nothing", "FP64", [1]),
        ("distance", "BOOL", [1]),
        ("distance", "FP16", [1]),
        ("distance", "fp64", [1]),
        ("carrier", "FP16", [1]),
        ("at", "INT64", [1]),
        ("at", "BOOL", [1]),
        ("distance", "FP64", []),
        ("distance", "FP64", [1, 2]),
        ("distance", "FP64", [1, 1, 1]),
        ("distance", "FP64", [-1]),
    ],
)
def test_head_is_refused_when_it_does_not_fit_the_schema(name: str, datatype: str, shape: list[int]) -> None:
    with pytest.raises(InvalidRowsError) as error:
        READER.check(name, datatype, shape)
    assert error.value.problems[0].field == name


@pytest.mark.parametrize(
    ("datatype", "code", "values"),
    [
        ("FP64", "d", [0.1, -1e300]),
        ("FP32", "f", [0.5, -2.25]),
        ("INT8", "b", [-128, 127]),
        ("INT16", "h", [-32768, 3]),
        ("INT32", "i", [-(2**31), 3]),
        ("INT64", "q", [-(2**63), 2**63 - 1]),
        ("UINT8", "B", [0, 255]),
        ("UINT16", "H", [0, 65535]),
        ("UINT32", "I", [0, 2**32 - 1]),
        ("UINT64", "Q", [0, 2**64 - 1]),
        ("BOOL", "?", [True, False]),
    ],
)
def test_raw_numbers_are_read_little_endian(datatype: str, code: str, values: list[Any]) -> None:
    content = struct.pack(f"<2{code}", *values)
    assert list(tensors.from_wire(("x", datatype, 2), content)) == values


@pytest.mark.parametrize(
    ("datatype", "least", "largest"),
    [("INT8", -128, 127), ("UINT16", 0, 65535), ("INT64", -(2**63), 2**63 - 1), ("UINT64", 0, 2**64 - 1)],
)
def test_integers_are_refused_when_they_are_not_of_their_datatype(datatype: str, least: int, largest: int) -> None:
    tensors.check_integers("x", datatype, [least, None, largest])
    for other in (least - 1, largest + 1):
        with pytest.raises(InvalidRowsError) as error:
            tensors.check_integers("x", datatype, [0, other])
        assert error.value.problems[0].row == 1


@pytest.mark.parametrize("content", [b"", b"\0" * 15, b"\0" * 17])
def test_raw_numbers_are_refused_when_their_length_is_wrong(content: bytes) -> None:
    with pytest.raises(InvalidRowsError):
        tensors.from_wire(("x", "FP64", 2), content)


def test_raw_texts_are_read_with_their_lengths() -> None:
    content = b"\2\0\0\0AA" + b"\0\0\0\0" + b"\3\0\0\0" + "é!".encode()
    assert tensors.from_wire(("x", "BYTES", 3), content) == ["AA", "", "é!"]


@pytest.mark.parametrize(
    "content",
    [
        b"\1\0\0",
        b"\2\0\0\0A",
        b"\xff\xff\xff\xffA",
        b"\1\0\0\0A",
        b"\1\0\0\0A\1\0\0\0B\1\0\0\0C",
        b"\1\0\0\0A\1\0\0\0\xff",
    ],
)
def test_raw_texts_are_refused_when_they_are_broken(content: bytes) -> None:
    with pytest.raises(InvalidRowsError):
        tensors.from_wire(("x", "BYTES", 2), content)


def test_row_is_named_when_its_text_is_not_utf8() -> None:
    with pytest.raises(InvalidRowsError) as error:
        tensors.from_texts("carrier", 3, [b"a", b"\xff", b"c"])
    assert (error.value.problems[0].row, error.value.problems[0].field) == (1, "carrier")


def test_answers_are_written_as_the_protocol_says() -> None:
    outputs = {"probability": [0.25, 0.75], "label": ["no", "jä"]}
    probability, label = WRITER.tensors(outputs, ["probability", "label"])
    assert tensors.to_wire(probability) == struct.pack("<2d", 0.25, 0.75)
    assert tensors.to_wire(label) == b"\2\0\0\0no\3\0\0\0" + "jä".encode()


def test_all_outputs_are_meant_when_none_is_named() -> None:
    assert list(WRITER.requested([])) == ["probability", "label"]
    assert list(WRITER.requested(["label"])) == ["label"]


@pytest.mark.parametrize("names", [["nothing"], ["label", "label"]])
def test_outputs_are_refused_when_there_are_no_such(names: list[str]) -> None:
    with pytest.raises(RequestError, match="output"):
        WRITER.requested(names)


def test_probabilities_of_many_labels_are_one_tensor_in_the_order_of_the_labels() -> None:
    schema = FeatureSchema("toy", "multiclass", Target("kind", ("a", "b", "c")), SCHEMA.fields, ())
    writer = TensorWriter(schema)
    outputs = {"probabilities": [[0.25, 0.25, 0.5], [1.0, 0.0, 0.0]], "label": ["c", "a"]}
    probabilities, label = writer.tensors(outputs, writer.requested([]))
    assert (probabilities.name, probabilities.datatype, probabilities.shape) == ("probabilities", "FP64", [2, 3])
    assert tensors.to_wire(probabilities) == struct.pack("<6d", 0.25, 0.25, 0.5, 1, 0, 0)
    assert (label.values, label.shape) == (["c", "a"], [2])
    assert [entry["shape"] for entry in writer.metadata()] == [[-1, 3], [-1]]


def test_number_is_one_tensor() -> None:
    writer = TensorWriter(FeatureSchema("toy", "regression", Target("price"), SCHEMA.fields, ()))
    (value,) = writer.tensors({"value": [2.5, -1.0]}, writer.requested([]))
    assert (value.name, value.shape, tensors.to_wire(value)) == ("value", [2], struct.pack("<2d", 2.5, -1))


TEXTS = [
    b"\2\0\0\0AA",
    b"\0\0\0\0",
    b"\1\0\0\0\xff",
    b"\3\0\0\0AA",
    b"\1\0\0",
    b"",
    b"\1\0\0\0A\1\0\0\0B",
    b"\3\0\0\0AA\0",
]
NUMBERS = [struct.pack("<d", 1.5), struct.pack("<d", math.nan), b"", b"\0" * 7, b"\0" * 16]
ENCODER = Encoder(
    replace(
        SCHEMA,
        features=(
            Feature("carrier", "category", ("carrier",), {"categories": ["AA"]}),
            Feature("gate", "text_length", ("gate",)),
            *(Feature(name, "value", (name,)) for name in ("distance", "wind", "night")),
        ),
    )
)


@pytest.mark.parametrize("count", [1, 2, tensors.FEW, tensors.FEW + 1])
@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("last", [b"", b"\2\0\0\0AA", b"\1\0\0\0A"])
@pytest.mark.parametrize("absent", [(), ("night",), ("night", "wind"), ("distance",)], ids=" and ".join)
def test_raw_tensors_are_read_as_the_rows_that_they_are_one_by_one(
    count: int, text: bytes, number: bytes, last: bytes, absent: tuple[str, ...]
) -> None:
    fields = {"wind": "FP64", "carrier": "BYTES", "distance": "FP64", "gate": "BYTES", "night": "BOOL"}
    for name in absent:
        del fields[name]
    heads = tuple((name, datatype, count) for name, datatype in fields.items())
    texts = text * (count - 1) + last if last and count > 1 else text * count
    booleans = b"\1\2"[: count % 2 + 1] + b"\0" * (count - count % 2 - 1)
    sent = {"wind": number * count, "carrier": texts, "distance": number * count, "gate": texts, "night": booleans}
    contents = [sent[name] for name in fields]

    def outcome(read: Callable[[], Any]) -> str:
        try:
            return repr(read())
        except InvalidRowsError as error:
            return repr(error.problems)

    def one_by_one() -> Any:
        READER.wire_reader(heads)  # raises for heads that do not fit together
        columns = [tensors.from_wire(head, content) for head, content in zip(heads, contents, strict=True)]
        values = [
            [None if value != value and name != "distance" else value for value in column]
            for (name, _, _), column in zip(heads, columns, strict=True)
        ]
        matrix, fallbacks = ENCODER.encode_rows(
            [dict(zip(fields, row, strict=True)) for row in zip(*values, strict=True)]
        )
        return matrix.tobytes(), by_fallback(fallbacks)

    def together() -> Any:
        given = READER.wire_reader(heads)(contents)
        if isinstance(given, Columns):
            matrix, (found,) = ENCODER.encode_columns([given])
            if isinstance(found, RequestError):
                raise found
            return matrix.tobytes(), found
        matrix, fallbacks = ENCODER.encode_rows(given)
        return matrix.tobytes(), by_fallback(fallbacks)

    expected = outcome(one_by_one)
    assert outcome(together) == expected
    if count > tensors.FEW and "Problem" not in expected:
        assert isinstance(READER.wire_reader(heads)(contents), Columns)


def test_many_values_of_typed_tensors_are_columns() -> None:
    count = tensors.FEW + 1
    heads = (("carrier", "BYTES", count), ("distance", "FP64", count), ("wind", "INT64", count))
    columns = [["AA"] * count, [1.5] * count, [None] * count]
    given = READER.given(heads, columns)
    assert isinstance(given, Columns)
    assert given.rows() == [{"carrier": "AA", "distance": 1.5, "wind": None}] * count
    matrix, (assumed,) = ENCODER.encode_columns([given])
    expected, fallbacks = ENCODER.encode_rows(given.rows())
    assert (matrix.tobytes(), assumed) == (expected.tobytes(), by_fallback(fallbacks))


def test_number_that_no_float_holds_is_refused_in_a_column_too() -> None:
    count = tensors.FEW + 1
    given = READER.given(
        (("carrier", "BYTES", count), ("distance", "INT64", count)), [["AA"] * count, [10**400] * count]
    )
    assert isinstance(given, Columns)
    _, (found,) = ENCODER.encode_columns([given])
    assert isinstance(found, InvalidRowsError)
    assert "distance" in str(found)


def test_every_kind_that_a_request_carries_has_a_datatype() -> None:
    assert DATATYPES.keys() == set(REQUESTED)
