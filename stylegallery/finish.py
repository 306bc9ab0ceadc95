"""From the optimised latent to a picture of the original's size."""

from torch import Tensor

from stylegallery.errors import BadMask
from stylegallery.images import resize
from stylegallery.types import Picture


def finish(pixels: Tensor, original: Picture, protect: Tensor | None = None) -> Picture:
    """Restore size, protected pixels and alpha.

    Args:
        pixels: (1, 3, h, w) decoded result in [0, 1] at working size.
        original: The picture that was restyled.
        protect: (1, 1, H, W) in [0, 1]: 1 keeps the original pixel exactly, values between
            blend. It must have the original's size.

    Raises:
        BadMask: `protect` has another size.
    """
    restyled = resize(pixels, original.size)
    if protect is not None:
        if tuple(protect.shape[-2:]) != original.size:
            raise BadMask(
                f"the protection image is {protect.shape[-1]}x{protect.shape[-2]} px, but the "
                f"photo is {original.size[1]}x{original.size[0]} px; make them the same size."
            )
        restyled = protect * original.pixels + (1 - protect) * restyled
    return Picture(restyled, original.alpha)
