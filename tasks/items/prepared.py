"""Prepared images: cached in memory by each actor, and stored in `prepared/` for later runs.

Files in `prepared/` are named by a hash of everything that the preparation depends on. They hold
plain tensors and a checksum that covers the name, and may be deleted at any time: a missing or
damaged file is computed again.
"""

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NewType

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.images.picture import Picture
from stylegallery.regions.descriptors import Descriptors
from stylegallery.regions.region_map import RegionMap
from stylegallery.sampling.sizes import has_one_size
from stylegallery.types import PreparedImage
from tasks.errors import FileMissing, FileTooLarge
from tasks.storage import StoragePath

logger = logging.getLogger(__name__)

ANALYSIS = (
    "method",
    "image_size",
    "scale",
    "sampler",
    "inversion_steps",
    "max_regions",
    "merge_threshold",
    "min_region_fraction",
)
"""The style parameters that `StyleGallery.prepare` reads. Others do not change its result."""

CACHE_BYTES = 1 << 30
"""Memory budget of an actor for prepared images."""

PreparedKey = NewType("PreparedKey", str)
"""Hash of an image and of all that its preparation depends on: see :func:`prepared_key`."""

_FORMAT = 2  # version 1 had wrong colors for indexed, 16-bit and other files
_MAX_BYTES = 64 * 2**20
_CHECKSUM = "seal"


@dataclass(frozen=True)
class Prepared:
    """A prepared image.

    Attributes:
        image: Result of `StyleGallery.prepare`.
        regions_uri: Path of its region map below the output root.
        blank: How blank the image is, as text; empty for a normal image.
    """

    image: PreparedImage
    regions_uri: str
    blank: str = ""


class PreparedCache:
    """Prepared images within a budget of bytes; evicts the least recently used."""

    def __init__(self, budget: int = CACHE_BYTES) -> None:
        self._budget = budget
        self._entries: OrderedDict[PreparedKey, Prepared] = OrderedDict()
        self._bytes = 0

    def __contains__(self, key: PreparedKey) -> bool:
        return key in self._entries

    def get(self, key: PreparedKey, make: Callable[[], Prepared]) -> Prepared:
        """Return the entry of `key`; if there is none, make it and cache it if it fits."""
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key]
        made = make()
        if made.image.nbytes <= self._budget:
            self._entries[key] = made
            self._bytes += made.image.nbytes
        while self._bytes > self._budget:
            _, oldest = self._entries.popitem(last=False)
            self._bytes -= oldest.image.nbytes
        return made

    def clear(self) -> None:
        """Remove all entries."""
        self._entries.clear()
        self._bytes = 0


def prepared_key(image: str, mask: str | None, params: StyleParams, engine: str) -> PreparedKey:
    """Return the key of a prepared image: a hash of all that it depends on.

    Args:
        image: Version of the image's bytes.
        mask: Version of its label image's bytes, or None.
        params: Style parameters of the run.
        engine: Fingerprint of the engine.
    """
    chosen = {name: value for name, value in params.flat().items() if name in ANALYSIS}
    if not params.image_size or has_one_size(params):  # the size does not depend on them
        del chosen["scale"], chosen["sampler"]
    text = json.dumps([_FORMAT, image, mask, engine, chosen], sort_keys=True)
    return PreparedKey(hashlib.sha256(text.encode()).hexdigest())


def save_prepared(output: StoragePath, key: PreparedKey, image: PreparedImage) -> None:
    """Write latent, regions and descriptors of an image to `prepared/`, without its pixels.

    Raises:
        StorageError: the file cannot be written.
    """
    named = {**vars(image.descriptors), "latent": image.latent, "labels": image.regions.labels}
    tensors = {name: tensor.cpu().contiguous() for name, tensor in named.items()}
    data = save({**tensors, _CHECKSUM: _checksum(key, tensors)})
    _file(output, key).write_bytes(data)


def load_prepared(
    output: StoragePath, key: PreparedKey, picture: Picture, device: torch.device
) -> PreparedImage | None:
    """Read a prepared image from `prepared/`; return None if there is no intact file.

    Args:
        output: The output root.
        key: From :func:`prepared_key`.
        picture: The decoded image.
        device: Device of the engine.

    Raises:
        StorageError: the store cannot be reached.
    """
    file = _file(output, key)
    try:
        tensors = load(file.read_bytes(_MAX_BYTES))
        checksum = tensors.pop(_CHECKSUM, None)  # files of older versions have none
        if checksum is not None and not torch.equal(checksum, _checksum(key, tensors)):
            raise ValueError("its checksum does not match")
        return _to_image(tensors, picture, device)
    except FileMissing:
        return None
    except (FileTooLarge, SafetensorError, KeyError, TypeError, ValueError) as error:
        logger.warning("%s cannot be used and is computed again: %s", file, error)
        return None


def _to_image(tensors: dict[str, Tensor], picture: Picture, device: torch.device) -> PreparedImage:
    """Check the tensors of a file and build the prepared image.

    Raises:
        ValueError: shapes disagree or values are not finite.
    """
    latent, regions = tensors.pop("latent"), RegionMap(tensors.pop("labels"))
    descriptors = Descriptors(**tensors)
    if latent.ndim != 4 or latent.shape[-2:] != regions.labels.shape:
        raise ValueError(
            f"the latent's shape {tuple(latent.shape)} does not fit the region map's "
            f"{tuple(regions.labels.shape)}"
        )
    lengths = {name: len(tensor) for name, tensor in tensors.items()}
    if set(lengths.values()) != {regions.count}:
        raise ValueError(f"it has {regions.count} regions, but descriptors of {lengths}")
    if not all(tensor.isfinite().all() for tensor in [latent, *tensors.values()]):
        raise ValueError("it has values that are not finite")
    return PreparedImage(picture, latent.to(device), regions, descriptors)


def _checksum(key: PreparedKey, tensors: dict[str, Tensor]) -> Tensor:
    """Return the SHA-256, (32,) uint8, of a file's key and tensors."""
    digest = hashlib.sha256(key.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)


def _file(output: StoragePath, key: PreparedKey) -> StoragePath:
    return output / f"prepared/{key}.safetensors"
