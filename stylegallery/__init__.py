"""StyleGallery: training-free, region-to-region style transfer from several references.

    from stylegallery import StyleGallery, images

    engine = StyleGallery.load("embedded")
    content = engine.prepare(images.open_picture("dress.jpg"))
    styles = [engine.prepare(images.open_picture("wheat.jpg"))]
    routing = engine.match(content, styles)
    engine.stylize(content, styles, routing).picture

Names are imported on first use, so importing the package does not import torch.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stylegallery.images.picture import Picture
    from stylegallery.pipeline import StyleGallery
    from stylegallery.types import PreparedImage, RestyledImage, Step, StyleJob

# MKL chooses kernels by memory alignment, so equal calls can differ in the last bit. With this
# setting, which must precede MKL's first call, equal seeds give equal bytes.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

__version__ = "0.1.0"
__all__ = ["Picture", "PreparedImage", "RestyledImage", "Step", "StyleGallery", "StyleJob"]

_HOMES = {"StyleGallery": "stylegallery.pipeline"}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(_HOMES.get(name, "stylegallery.types")), name)
    raise AttributeError(f"module 'stylegallery' has no attribute {name!r}")
