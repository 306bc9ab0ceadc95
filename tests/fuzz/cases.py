"""Hypothesis strategies for broken files: changed bits, swapped parts, unusual values and types."""

import json
import re
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from schemas.arrow import arrow_schema
from schemas.base import Row
from schemas.manifest import CatalogRow, GalleryRow
from tests.fuzz.seeds import ODD_COLUMNS, parquet_bytes

Edit = Callable[[bytes], bytes]

_NUMBERS = (0, 1, 2, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
_WORDS = (
    *(
        '"',
        "'",
        ",",
        ";",
        "\n",
        "\r",
        "\0",
        "{",
        "}",
        "[",
        "]",
        ":",
        "\ufeff",
        "\x1b[31m",
        "\u202e",
    ),
    *("null", "true", "NaN", "Infinity", "-1", "1e400", "9" * 5000, "1.5", '"\\ud800"', "\\u0000"),
    *(
        "[" * 5000,
        '{"a":' * 2000,
        "x" * 200_000,
        "..",
        "../..",
        "s3://",
        "file://h/",
        "https://u:p@h/",
    ),
    *(
        "product_id",
        "image_uri",
        "gallery_id",
        "style_id",
        "seed",
        "matches",
        "region",
        "2030-02-31",
    ),
)


def broken(good: list[bytes]) -> st.SearchStrategy[bytes]:
    """Return good files with random edits."""
    edits = st.lists(_edits(good), min_size=1, max_size=6)
    return st.builds(_edited, st.sampled_from(good), edits, st.booleans())


def worded(good: list[bytes]) -> st.SearchStrategy[bytes]:
    """Return good text files with inserted words, or with random edits."""
    words = st.builds(_inserted, _places, st.sampled_from(_WORDS).map(lambda w: w.encode()))
    more = st.lists(words, min_size=1, max_size=4)
    return st.one_of(st.builds(_edited, st.sampled_from(good), more, st.just(False)), broken(good))


def odd_tables(good: list[bytes]) -> st.SearchStrategy[bytes]:
    """Return Parquet files with columns of unusual types, or good ones with random edits."""
    return st.one_of(*(_tables(model) for model in (CatalogRow, GalleryRow)), broken(good))


def odd_json(good: list[bytes]) -> st.SearchStrategy[bytes]:
    """Return JSON of unusual shapes, or broken text."""
    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), _names
    )
    values = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4),
        max_leaves=12,
    )
    return st.one_of(values.map(lambda value: json.dumps(value).encode()), worded(good))


_names = st.sampled_from(
    [*CatalogRow.model_fields, *GalleryRow.model_fields, "matches", "region", "style_region"]
)
_places = st.one_of(
    st.floats(0, 1),
    st.floats(0, 0.1),
    st.floats(0.7, 1),  # the footer of Parquet
)


def _edits(good: list[bytes]) -> st.SearchStrategy[Edit]:
    sizes = st.integers(1, 64)
    return st.one_of(
        st.builds(_flipped, _places, st.integers(0, 7)),
        st.builds(_flipped, _places, st.integers(0, 7)),
        st.builds(
            _numbered,
            _places,
            st.sampled_from(_NUMBERS),
            st.sampled_from((1, 2, 4, 8)),
            st.sampled_from(("little", "big")),
        ),
        st.builds(_without, _places, sizes),
        st.builds(_doubled, _places, sizes),
        st.builds(_inserted, _places, st.binary(max_size=16)),
        st.builds(lambda place: lambda data: data[: _at(place, data)], _places),
        st.builds(_crossed, _places, st.sampled_from(good)),
    )


def _at(place: float, data: bytes) -> int:
    return min(int(place * len(data)), max(len(data) - 1, 0))


def _flipped(place: float, bit: int) -> Edit:
    def edit(data: bytes) -> bytes:
        at = _at(place, data)
        return data[:at] + bytes(byte ^ (1 << bit) for byte in data[at : at + 1]) + data[at + 1 :]

    return edit


def _numbered(place: float, number: int, width: int, order: Any) -> Edit:
    text = (number % 256**width).to_bytes(width, order)

    def edit(data: bytes) -> bytes:
        at = _at(place, data)
        return data[:at] + text + data[at + width :]

    return edit


def _without(place: float, size: int) -> Edit:
    return lambda data: data[: _at(place, data)] + data[_at(place, data) + size :]


def _doubled(place: float, size: int) -> Edit:
    def edit(data: bytes) -> bytes:
        at = _at(place, data)
        return data[: at + size] + data[at : at + size] + data[at + size :]

    return edit


def _inserted(place: float, text: bytes) -> Edit:
    return lambda data: data[: _at(place, data)] + text + data[_at(place, data) :]


def _crossed(place: float, other: bytes) -> Edit:
    return lambda data: data[: _at(place, data)] + other[_at(place, other) :]


def _edited(data: bytes, edits: list[Edit], mend: bool) -> bytes:
    for edit in edits:
        data = edit(data)
    return _mended(data) if mend else data


def _mended(data: bytes) -> bytes:
    """Return a PNG with corrected checksums, so that decoders read the changed data."""
    if not data.startswith(b"\x89PNG"):
        return data
    out, at = data[:8], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 8 + size]
        out += data[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        at += 12 + size
    return out


@st.composite
def _tables(draw: st.DrawFn, model: type[Row]) -> bytes:
    good: dict[str, pa.Array] = {}
    for field, odd in _fitting(model):
        info = model.model_fields[field.name]
        if info.is_required() or draw(st.booleans()):
            text = pa.array([f"{field.name}-1", f"{field.name}-2"])
            plain = text if pa.types.is_string(field.type) else pa.nulls(2, field.type)
            good[field.name] = draw(st.sampled_from([plain, plain, plain, *odd]))
    names = st.text(max_size=6) | st.sampled_from(["price", "a\nb", "\u202e", *good])
    for name, column in draw(st.dictionaries(names, st.sampled_from(ODD_COLUMNS))).items():
        if not re.search("[\ud800-\udfff]", name):
            good[name] = column
    way = draw(
        st.fixed_dictionaries(
            {
                "compression": st.sampled_from(("none", "snappy", "zstd", "gzip", "lz4")),
                "use_dictionary": st.booleans(),
                "store_schema": st.booleans(),
                "data_page_version": st.sampled_from(("1.0", "2.0")),
                "row_group_size": st.integers(1, 2),
            }
        )
    )
    return parquet_bytes(good, **way)


@cache
def _fitting(model: type[Row]) -> list[tuple[pa.Field, list[pa.Array]]]:
    """Return the fields of a model, each with the unusual columns that can be cast to its type."""
    return [
        (field, [column for column in ODD_COLUMNS if _casts(column, field.type)])
        for field in arrow_schema(model)
    ]


def _casts(column: pa.Array, kind: pa.DataType) -> bool:
    try:
        column.cast(kind)
    except pa.ArrowException:
        return False
    return True


STRATEGIES: dict[str, Callable[[list[bytes]], st.SearchStrategy[bytes]]] = {
    "routing": odd_json,
    "catalog": odd_tables,
    "galleries": odd_tables,
    "csv": worded,
    "jsonl": odd_json,
}
"""Strategies by target; the default is `broken`."""
