"""Crops of references as latents, from which a style is learnt."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegallery.adapters.recipe import Recipe
from stylegallery.errors import BadReferences
from stylegallery.images.picture import Picture
from stylegallery.models.diffusion import Models
from stylegallery.models.vae import encode, working_size

_SMALLEST = 96  # px
_OPAQUE = 0.25  # of the area
_FLAT = 1 / 255
_SEEN = 0.5  # of a crop


def check_learnable(picture: Picture, name: str) -> None:
    """Refuse a reference from which no style can be learnt.

    Args:
        picture: The reference.
        name: Its name in the message.

    Raises:
        BadReferences: it is small, mostly transparent or flat.
    """
    height, width = picture.size
    if min(picture.size) < _SMALLEST:
        raise BadReferences(
            f"{name} is {width}x{height} px, which is too small to learn a style from; use a "
            f"reference of at least {_SMALLEST} px a side."
        )
    opaque = torch.ones(height, width) if picture.alpha is None else picture.alpha[0, 0]
    inside = opaque >= 0.5
    if inside.float().mean() < _OPAQUE:
        raise BadReferences(
            f"{name} is mostly transparent, which is too little to learn a style from; use a "
            "reference that is opaque in at least a quarter of its area."
        )
    if picture.pixels[0].mean(dim=0)[inside].std() < _FLAT:
        raise BadReferences(
            f"{name} is of one tone, so there is no style to learn from it; use a reference with "
            "strokes or texture."
        )


@dataclass(frozen=True, eq=False)
class _View:
    """A reference at one size.

    Attributes:
        latent: (C, h, w).
        opacity: (h, w) in [0, 1].
        corners: (n, 2) row and column of the corners of crops that show enough of it.
    """

    latent: Tensor
    opacity: Tensor
    corners: Tensor


class Crops:
    """Draws crops of references: at several sizes and mirrored, each reference by its weight."""

    def __init__(
        self, models: Models, references: Sequence[tuple[Picture, float]], recipe: Recipe
    ) -> None:
        """Encode all references, given with their weights, at all sizes of the recipe."""
        self._weights = torch.tensor([weight for _, weight in references])
        self._device = models.device
        encoded = [
            [
                _encoded(models, picture, side, mirrored)
                for side in recipe.sides
                for mirrored in ((False, True) if recipe.cells else (False,))
            ]
            for picture, _ in references
        ]
        grids = [min(latent.shape[1:]) for views in encoded for latent, _ in views]
        cells = min([recipe.cells, *grids]) if recipe.cells else 0
        self._cells = cells
        self._views = [[_view(*parts, cells) for parts in views] for views in encoded]

    def draw(self, generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
        """Draw crops of one size.

        Args:
            generator: On the CPU.
            count: Number of crops B; 1 if the crops are whole images.

        Returns:
            Clean latents (B, C, h, w) and their opacity (B, 1, h, w) in [0, 1].
        """
        drawn = [self._one(generator) for _ in range(count)]
        latents, opacities = zip(*drawn, strict=True)
        return torch.stack(latents).to(self._device), torch.stack(opacities).to(self._device)

    def _one(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        reference = int(torch.multinomial(self._weights, 1, generator=generator))
        views = self._views[reference]
        view = views[int(torch.randint(len(views), (1,), generator=generator))]
        if not self._cells:
            return view.latent, view.opacity[None]
        corner = int(torch.randint(len(view.corners), (1,), generator=generator))
        row, column = view.corners[corner].tolist()
        place = (..., slice(row, row + self._cells), slice(column, column + self._cells))
        return view.latent[place], view.opacity[None][place]


def _encoded(models: Models, picture: Picture, side: int, mirrored: bool) -> tuple[Tensor, Tensor]:
    """Return the latent (C, h, w) and the opacity (h, w) of a picture, both on the CPU."""
    size = working_size(picture.size, side, models.vae_factor)
    pixels = picture.pixels.flip(-1) if mirrored else picture.pixels
    latent = encode(models, pixels, size)[0].cpu()
    grid = (int(latent.shape[1]), int(latent.shape[2]))
    if picture.alpha is None:
        return latent, torch.ones(grid)
    alpha = F.interpolate(picture.alpha, grid, mode="area")[0, 0]
    return latent, alpha.flip(-1) if mirrored else alpha


def _view(latent: Tensor, opacity: Tensor, cells: int) -> _View:
    if not cells:
        return _View(latent, opacity, torch.zeros(1, 2, dtype=torch.int64))
    seen = F.avg_pool2d(opacity[None, None], cells, stride=1)[0, 0]
    enough = min(_SEEN, float(seen.max()))
    return _View(latent, opacity, (seen >= enough).nonzero())
