"""One item of work: a product photo to be restyled in one gallery."""

import hashlib
import json
import re
from json.encoder import encode_basestring_ascii

from pydantic import Field

from schemas.base import Row
from schemas.params import StyleParams

SCHEMA_VERSION = 1


class StyleSource(Row):
    """One reference image as planned: where it is and which bytes are meant."""

    style_id: str = Field(description="Id of the reference within its gallery.")
    image_uri: str = Field(description="Absolute URI of the reference image.")
    image_version: str = Field(description="Content hash or ETag of the image when planned.")
    weight: float = Field(1.0, description="Weight of this reference.")
    mask_uri: str | None = Field(None, description="Absolute URI of its label image.")
    mask_version: str | None = Field(None, description="Content hash or ETag of the label image.")
    license: str | None = Field(None, description="Licence of the reference image.")
    attribution: str | None = Field(None, description="Whom to credit.")


class PlannedStyle(StyleSource):
    """A reference in a plan's table of galleries."""

    gallery_id: str = Field(description="Gallery that the reference belongs to.")


class PlannedItem(Row):
    """One photo to be restyled in one gallery: a row of a plan. Ids and URIs, never pixels."""

    item_id: str = Field(description="Hash of all that can change the picture, 64 hex digits.")
    product_id: str = Field(description="Id of the product.")
    view: str = Field(description="Which photo of the product.")
    gallery_id: str = Field(description="Gallery whose style it takes.")
    image_uri: str = Field(description="Absolute URI of the photo.")
    image_version: str = Field(description="Content hash or ETag of the photo when planned.")
    mask_uri: str | None = Field(None, description="Absolute URI of the label image.")
    mask_version: str | None = Field(None, description="Content hash or ETag of the label image.")
    protect_uri: str | None = Field(None, description="Absolute URI of the protection image.")
    protect_version: str | None = Field(None, description="Content hash or ETag of it.")
    routing_uri: str | None = Field(None, description="Absolute URI of the JSON pins.")
    routing_version: str | None = Field(None, description="Content hash or ETag of the pins.")
    seed: int = Field(description="Random seed of this item.")
    image_format: str = Field(description="File format of the asset: png, webp or jpg.")
    quality: int = Field(0, description="Quality of a jpg or webp asset; 0 is the format's own.")
    extra: dict[str, str] = Field(
        default_factory=dict, description="Further catalog columns, carried through as text."
    )
    problem: str | None = Field(
        None, description="What is wrong with the item's row in a manifest; null where it is fine."
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


def path_segment(identifier: str) -> str:
    """Return an id as one segment of a path: as it is, or percent-encoded where it holds a slash.

    Where ids are encoded, per cent signs are too, so that `unquote` gives the id back.
    """
    return _encoded(identifier) if _is_encoded(identifier) else identifier


def asset_key(gallery_id: str, product_id: str, view: str, item_id: str, image_format: str) -> str:
    """Return the path of an item's asset below the output root, which no other item has.

    An id such as `a%2Fb` stays as it is, and looks like what `a/b` becomes. So names in which
    something is encoded hold more digits of the item id: their length says what is encoded.
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
    """Ids of the items of one gallery: hashes of everything that can change the picture.

    Names, URIs, licences, run ids, batch sizes and the number of actors are left out on purpose:
    the same bytes restyled the same way are the same item wherever they lie.
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
        """Turn what the items share into text once."""
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
        """Return 64 hex digits (SHA-256 of canonical JSON)."""
        versions = [_quoted(v) for v in (mask_version, protect_version, routing_version)]
        own = ",".join([_quoted(image_version), "null" if seed is None else str(seed), *versions])
        digest = self._shared.copy()
        digest.update(f"[{own}]".encode())
        return digest.hexdigest()


def _quoted(text: str | None) -> str:
    """Return a text as canonical JSON; a million of them are too many for the whole encoder."""
    return "null" if text is None else encode_basestring_ascii(text)


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


def rejected_item_id(*parts: object) -> str:
    """Return the id of an item whose manifest row cannot be used: a hash of what is in that row."""
    return hashlib.sha256(_canonical(["rejected", *parts]).encode()).hexdigest()


def derived_seed(identifier: str) -> int:
    """Return the seed of an item whose manifest row gives none (below 2**63)."""
    return int(identifier[:15], 16)
