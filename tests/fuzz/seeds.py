"""Small valid files of every kind that users provide, as a start for fuzzing."""

import io
import json
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from tests.stylegallery.images.color_files import with_chunks
from tests.tasks.pictures import encoded, noise

_RGB = noise(32, 24)


def image_seeds() -> list[bytes]:
    """Return images in all formats, modes and with all metadata that decoders distinguish."""
    return list(_images())


def _images() -> Iterator[bytes]:
    grey, alpha = _RGB[..., 0].copy(), np.dstack([_RGB, _RGB[..., :1]])
    labels = np.repeat(np.arange(4, dtype=np.uint8) * 60, 8)[:, None] * np.ones(24, np.uint8)
    text = PngImagePlugin.PngInfo()
    text.add_text("stylegallery", '{"item_id": "x"}', zip=True)
    text.add_itxt("XML:com.adobe.xmp", "<x/>", zip=True)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.ImageDescription] = "{}"
    frames = {"save_all": True, "append_images": [Image.fromarray(_RGB[::-1].copy())]}
    extras: dict[str, Any] = {"icc_profile": profile, "exif": exif}
    yield encoded(_RGB, "PNG", pnginfo=text, **extras)
    yield encoded(grey.astype(np.uint16) * 257, "PNG")
    yield encoded(alpha, "PNG")
    yield encoded(labels, "PNG", mode="P", transparency=0)
    yield encoded(grey, "PNG", mode="1")
    yield encoded(_RGB, "PNG", **frames)
    yield encoded(_RGB, "JPEG", **extras)
    yield encoded(_RGB, "JPEG", mode="CMYK")
    yield encoded(grey, "JPEG", progressive=True)
    yield encoded(_RGB, "WEBP", **extras)
    yield encoded(alpha, "WEBP", lossless=True)
    yield encoded(_RGB, "WEBP", **frames)
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield encoded(_RGB, "TIFF", compression=compression, **extras)
    yield encoded(_RGB, "TIFF", **frames)
    yield encoded(grey.astype(np.float32) / 255, "TIFF")
    yield encoded(grey, "TIFF", mode="1", compression="group4")
    yield encoded(_RGB, "GIF")
    yield encoded(_RGB, "GIF", **frames)
    yield encoded(_RGB, "BMP")
    yield encoded(labels, "BMP", mode="P")
    yield encoded(grey, "BMP", mode="1")
    yield encoded(_RGB, "AVIF", **extras)
    yield encoded(alpha, "AVIF")
    named = [(b"gAMA", b"\0\0\xd9\x03"), (b"cHRM", b"\0\0\x7a\x26\0\0\x80\x84" * 4)]
    yield with_chunks(encoded(_RGB, "PNG"), *named)
    yield with_chunks(encoded(_RGB, "PNG"), (b"cICP", b"\x0c\x0d\0\1"))
    yield with_chunks(encoded(grey, "PNG"), (b"tRNS", b"\0\x7f"), named[0])


def routing_seeds() -> list[bytes]:
    """Return pins, minimal and as the engine writes them."""
    entry = {"region": 0, "style_id": "a", "style_region": 1}
    full = {**entry, "area": 0.5, "similarity": 1.5, "fallback": "none", "pinned": False}
    written = {"version": 1, "matches": [full, {**full, "region": 1}]}
    bare, listed = {"matches": [entry]}, [{"matches": full}]
    return [
        json.dumps(bare).encode(),
        json.dumps(listed).encode(),
        json.dumps(written, indent=2).encode(),
    ]


def text_seeds() -> list[bytes]:
    """Return catalogs and galleries as CSV."""
    return [
        b'product_id,image_uri,galleries,seed,price\na,img/a.jpg,g;h,5,1.50\n"b",/x/b.jpg,,,\n',
        b"gallery_id,style_id,image_uri,weight,valid_until\ng,a,a.jpg,2,2030-01-31\n",
        "\ufeffproduct_id,view,image_uri,mask_uri\r\nü,front,s3://b/k.png,m.png\r\n".encode(),
        b"sep=;\r\ngallery_id;style_id;Image URI;weight;\r\ng;a/b; a.jpg;0,5;\r\n;;;;\r\n",
        "Product_ID\timage_uri\tTitel\r\nÄ1\tph/a.png\tschön\r\n".encode("utf-16"),
    ]


def json_line_seeds() -> list[bytes]:
    """Return catalogs and galleries as JSON Lines."""
    rows: list[dict[str, Any]] = [
        {"product_id": "a", "image_uri": "a.jpg", "galleries": ["g"], "seed": 5, "tags": [1, {}]},
        {"gallery_id": "g", "style_id": "a", "image_uri": "a.jpg", "weight": 2.5},
        {"gallery_id": "g", "style_id": "b", "image_uri": "b.jpg", "valid_until": "2030-01-31"},
    ]
    return [json.dumps(row).encode() + b"\n" for row in rows] + [
        b"\n".join(json.dumps(row).encode() for row in rows[1:]),
        json.dumps(rows[:1], indent=1).encode(),
    ]


ODD_COLUMNS: list[pa.Array] = [
    pa.array(["x", None]),
    pa.array(["x", "\x1b[31m\u202e"]).dictionary_encode(),
    pa.array(["x", "y"], pa.large_string()),
    pa.array(["x", "y"], pa.string_view()),
    pa.array([b"\xff\x00", b""], pa.binary()),
    pa.array([1, None], pa.int8()),
    pa.array([1, 2**64 - 1], pa.uint64()),
    pa.array([1.5, float("nan")]),
    pa.array([1.5, float("-inf")], pa.float16()),
    pa.array([Decimal("1.50"), None], pa.decimal128(38, 30)),
    pa.array([True, False]),
    pa.array([None, None], pa.null()),
    pa.array([date(2030, 1, 31), None]),
    pa.array([2**31 - 1, -(2**31)], pa.int32()).cast(pa.date32()),
    pa.array([datetime(2030, 1, 31), None], pa.timestamp("us")),
    pa.array([2**50, -(2**50)], pa.int64()).cast(pa.timestamp("s")),
    pa.array([2**62, None], pa.int64()).cast(pa.timestamp("us", "Nowhere/Land")),
    pa.array([1, 86_399_999_999], pa.int64()).cast(pa.time64("us")),
    pa.array([2**62, 1], pa.int64()).cast(pa.duration("s")),
    pa.array([["g"], None]),
    pa.array([[], ["g", None]], pa.list_(pa.string())),
    pa.array([["g"], ["h"]], pa.large_list(pa.large_string())),
    pa.array([["g", "h"]] * 2, pa.list_(pa.string(), 2)),
    pa.array([[["g"]], [[]]]),
    pa.array([{"a": 1, "b": ["x"]}, None]),
    pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
    pa.array([[({"k": 1}, 1)], []], pa.map_(pa.struct({"k": pa.int64()}), pa.int64())),
    pa.array([[1, None], []]),
]
"""Columns of two values, of every type."""


def parquet_bytes(columns: dict[str, pa.Array], **options: Any) -> bytes:
    """Return columns as the bytes of a Parquet file."""
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **options)
    return out.getvalue()


def parquet_seeds() -> list[bytes]:
    """Return catalogs and galleries as Parquet, plain and compressed, in both page formats."""
    text = pa.array
    catalog = {
        "product_id": text(["a", "b"]),
        "image_uri": text(["a.jpg", "s3://bucket/b.jpg"]),
        "galleries": text([["g"], None], pa.list_(pa.string())),
        "seed": text([1, None], pa.int64()),
        "price": text([1.5, 2.5]),
        "tags": text([{"a": ["x"]}, None]),
    }
    gallery = {
        "gallery_id": text(["g", "g"]).dictionary_encode(),
        "style_id": text(["a", "b"], pa.large_string()),
        "image_uri": text(["a.jpg", "b.jpg"]),
        "weight": text([1.0, 2.0]),
        "valid_until": text([date(2030, 1, 31), None]),
        "license": text(["CC0", None]),
    }
    ways: list[dict[str, Any]] = [
        {"compression": "none"},
        {"compression": "zstd", "data_page_version": "2.0", "write_page_checksum": True},
        {"compression": "snappy", "use_dictionary": False, "store_schema": False},
        {
            "compression": "gzip",
            "use_dictionary": False,
            "column_encoding": {"image_uri": "DELTA_BYTE_ARRAY"},
        },
    ]
    return [parquet_bytes(table, **way) for table in (catalog, gallery) for way in ways]
