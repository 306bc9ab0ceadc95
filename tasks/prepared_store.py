"""The folder `prepared/`: what is known of images, for all actors and all later runs.

Its files are named by what they were computed from, hold plain numbers and a seal that binds these
to the name, and may be deleted at any time: what is missing, broken or of another name is computed
again.
"""

import hashlib
import json
import logging

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.regions import RegionMap
from stylegallery.types import Descriptors, Picture, PreparedImage
from tasks import storage
from tasks.caches import PreparedKey
from tasks.errors import FileMissing, FileTooLarge

logger = logging.getLogger(__name__)

ANALYSIS = (
    "method",
    "image_size",
    "inversion_steps",
    "max_regions",
    "merge_threshold",
    "min_region_fraction",
)
"""The parameters that `StyleGallery.prepare` reads; those of restyling alone share its results."""

_FORMAT = 2  # 1 had the colours of indexed, deep and other files wrong
_MOST_BYTES = 64 * 2**20
_SEAL = "seal"


def prepared_key(image: str, mask: str | None, params: StyleParams, engine: str) -> PreparedKey:
    """Return the name of what is known of an image: a hash of all that it depends on.

    Args:
        image: Version of the image's bytes.
        mask: Version of its label image's bytes, if it has one.
        params: Of the run.
        engine: Fingerprint of the engine.
    """
    chosen = params.model_dump(mode="json", include=set(ANALYSIS))
    text = json.dumps([_FORMAT, image, mask, engine, chosen], sort_keys=True)
    return PreparedKey(hashlib.sha256(text.encode()).hexdigest())


def keep(output: str, key: PreparedKey, image: PreparedImage) -> None:
    """Write what is known of an image, without the image.

    Raises:
        StorageError: it cannot be written.
    """
    known = {**vars(image.descriptors), "latent": image.latent, "labels": image.regions.labels}
    plain = {name: tensor.cpu().contiguous() for name, tensor in known.items()}
    storage.write_bytes(_place(output, key), save({**plain, _SEAL: _seal(key, plain)}))


def recall(
    output: str, key: PreparedKey, picture: Picture, device: torch.device
) -> PreparedImage | None:
    """Return what was written of an image, or None when there is nothing that can be used.

    Args:
        output: Absolute URI of the output root.
        key: From :func:`prepared_key`.
        picture: The image itself.
        device: Where the engine works.

    Raises:
        StorageError: the store is at fault.
    """
    try:
        known = load(storage.read_bytes(_place(output, key), _MOST_BYTES))
        seal = known.pop(_SEAL, None)  # files of older versions have none, and are believed
        if seal is not None and not torch.equal(seal, _seal(key, known)):
            raise ValueError("its content is not what was kept under this name")
        return _put_together(known, picture, device)
    except FileMissing:
        return None
    except (FileTooLarge, SafetensorError, KeyError, TypeError, ValueError) as error:
        logger.warning("%s cannot be used and is computed again: %s", _place(output, key), error)
        return None


def _put_together(
    known: dict[str, Tensor], picture: Picture, device: torch.device
) -> PreparedImage:
    latent, regions = known.pop("latent"), RegionMap(known.pop("labels"))
    descriptors = Descriptors(**known)
    if latent.ndim != 4 or latent.shape[-2:] != regions.labels.shape:
        raise ValueError(f"latent {tuple(latent.shape)}, regions {tuple(regions.labels.shape)}")
    lengths = {name: len(tensor) for name, tensor in known.items()}
    if set(lengths.values()) != {regions.count}:
        raise ValueError(f"{regions.count} regions, described {lengths}")
    if not all(tensor.isfinite().all() for tensor in [latent, *known.values()]):
        raise ValueError("it holds numbers that are not finite")
    return PreparedImage(picture, latent.to(device), regions, descriptors)


def _seal(key: PreparedKey, tensors: dict[str, Tensor]) -> Tensor:
    """Return a hash (32,) uint8 of tensors and of the name of the file that holds them."""
    digest = hashlib.sha256(key.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)


def _place(output: str, key: PreparedKey) -> str:
    return storage.join(output, f"prepared/{key}.safetensors")
