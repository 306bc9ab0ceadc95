"""Decode image files to sRGB tensors and encode them: formats, color profiles, metadata.

Names load on first use, so that importing the package does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stylegallery.images.codec import decode, encode, open_picture, read_note
    from stylegallery.images.picture import Picture

__all__ = ["Picture", "decode", "encode", "open_picture", "read_note"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("stylegallery.images.codec"), name)
    raise AttributeError(f"module 'stylegallery.images' has no attribute {name!r}")
