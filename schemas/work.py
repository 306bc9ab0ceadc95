"""Planned items: product photos to restyle, their ids, seeds and asset paths."""

import hashlib
import json
import re
from json.encoder import encode_basestring_ascii

from pydantic import Field

from schemas.base import Row
from schemas.methods import Method
from schemas.params import StyleParams
from schemas.presets import Preset

SCHEMA_VERSION = 1


class StyleSource(Row):
    """A planned reference image: its URI and the version of its bytes."""

    style_id: str = Field(description="Id of the reference within its gallery.")
    image_uri: str = Field(description="Absolute URI of the reference image.")
    image_version: str = Field(description="Content hash or ETag of the file at planning time.")
    weight: float = Field(1.0, description="Weight of the reference.")
    mask_uri: str | None = Field(None, description="Absolute URI of its label image.")
    mask_version: str | None = Field(None, description="Content hash or ETag of the label image.")
    license: str | None = Field(None, description="License of the reference image.")
    attribution: str | None = Field(None, description="Credit line.")
    method: Method | None = Field(None, description="Method of its gallery, if not the run's.")
    preset: Preset | None = Field(None, description="Preset of its gallery, if it has one.")


class PlannedStyle(StyleSource):
    """A reference in a plan's table of galleries."""

    gallery_id: str = Field(description="Gallery that the reference belongs to.")


class PlannedItem(Row):
    """A row of a plan: one photo to restyle in one gallery. Ids and URIs, never pixels."""

    item_id: str = Field(
        description="Hash of everything that can change the picture, 64 hex digits."
    )
    product_id: str = Field(description="Id of the product.")
    view: str = Field(description="Which photo of the product, such as `front`.")
    gallery_id: str = Field(description="Id of the gallery.")
    image_uri: str = Field(description="Absolute URI of the photo.")
    image_version: str = Field(description="Content hash or ETag of the photo at planning time.")
    mask_uri: str | None = Field(None, description="Absolute URI of the label image.")
    mask_version: str | None = Field(None, description="Content hash or ETag of the label image.")
    protect_uri: str | None = Field(None, description="Absolute URI of the protection image.")
    protect_version: str | None = Field(None, description="Content hash or ETag of it.")
    routing_uri: str | None = Field(None, description="Absolute URI of the JSON pins.")
    routing_version: str | None = Field(None, description="Content hash or ETag of the pins.")
    seed: int = Field(description="Random seed of this item.")
    image_format: str = Field(description="File format of the asset: png, webp or jpg.")
    quality: int = Field(
        0, description="Quality of a jpg or webp asset; 0 uses the format's default."
    )
    extra: dict[str, str] = Field(
        default_factory=dict, description="Further catalog columns, as text."
    )
    problem: str | None = Field(
        None, description="Why the manifest row cannot be used; null if it can."
    )

    @property
    def asset_key(self) -> str:
        """Path of the asset below the output root."""
        return asset_key(
            self.gallery_id, self.product_id, self.view, self.item_id, self.image_format
        )


class WorkItem(PlannedItem):
    """Everything an actor needs to restyle one photo in one gallery."""

    styles: list[StyleSource] = Field(description="The gallery's references, ordered by style_id.")

    @property
    def method(self) -> Method | None:
        """Method of its gallery, if not the run's; its references name it."""
        return self.styles[0].method

    @property
    def preset(self) -> Preset | None:
        """Preset of its gallery, if it has one."""
        return self.styles[0].preset


def path_segment(identifier: str) -> str:
    """Return an id as one path segment; an id with a slash is percent-encoded.

    Percent signs of encoded ids are encoded too, so that `unquote` returns the id.
    """
    return _encoded(identifier) if _is_encoded(identifier) else identifier


def asset_key(gallery_id: str, product_id: str, view: str, item_id: str, image_format: str) -> str:
    """Return the path of an item's asset below the output folder; it is unique.

    The id `a%2Fb` is not encoded and would equal the encoded `a/b`. Names with an encoded part
    therefore hold more digits of the item id, so that the two differ in length.
    """
    name = (product_id, view)
    names_encoded, folder_encoded = any(map(_is_encoded, name)), _is_encoded(gallery_id)
    product, shot = map(_encoded, name) if names_encoded else name
    digits = _ID_DIGITS + 4 * names_encoded + 8 * folder_encoded
    folder = path_segment(gallery_id)
    return f"assets/{folder}/{product}/{shot}-{item_id[:digits]}.{image_format}"


_ID_DIGITS = 12
_SLASHES = re.compile(r"[/\\]")


def _is_encoded(identifier: str) -> bool:
    return _SLASHES.search(identifier) is not None


def _encoded(identifier: str) -> str:
    return re.sub(r"[%/\\]", lambda found: f"%{ord(found.group()):02X}", identifier)


class ItemIds:
    """Item ids of one gallery: hashes of everything that can change the picture.

    Names, URIs, licenses, run ids, batch sizes and the number of actors are left out on purpose:
    the same bytes restyled with the same settings are the same item, wherever they are stored.
    """

    def __init__(
        self,
        *,
        styles: list[StyleSource],
        params: StyleParams,
        engine_fingerprint: str,
        image_format: str,
        quality: int = 0,
    ) -> None:
        """Hash the settings that all items share."""
        shared = {
            "schema": SCHEMA_VERSION,
            "styles": [[s.style_id, s.image_version, s.weight, s.mask_version] for s in styles],
            "params": params.hashed(),
            "engine": engine_fingerprint,
            "format": image_format,
            "quality": quality,
        }
        self._shared = hashlib.sha256(_canonical(shared).encode())

    def of(
        self,
        *,
        image_version: str,
        seed: int | None = None,
        mask_version: str | None = None,
        protect_version: str | None = None,
        routing_version: str | None = None,
    ) -> str:
        """Return the item id: 64 hex digits, SHA-256 of canonical JSON."""
        versions = [_quoted(v) for v in (mask_version, protect_version, routing_version)]
        own = ",".join([_quoted(image_version), "null" if seed is None else str(seed), *versions])
        digest = self._shared.copy()
        digest.update(f"[{own}]".encode())
        return digest.hexdigest()


def _quoted(text: str | None) -> str:
    """Return a text as canonical JSON; faster than the encoder, for millions of items."""
    return "null" if text is None else encode_basestring_ascii(text)


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


def rejected_item_id(*parts: object) -> str:
    """Return the id of an item whose manifest row is invalid: a hash of the row."""
    return hashlib.sha256(_canonical(["rejected", *parts]).encode()).hexdigest()


def derived_seed(identifier: str) -> int:
    """Return the seed of an item whose manifest row has none, below 2**63."""
    return int(identifier[:15], 16)
