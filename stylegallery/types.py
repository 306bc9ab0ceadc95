"""The values that pass from stage to stage. Tensors stay on the engine's device."""

from dataclasses import dataclass

from torch import Tensor

from stylegallery.images.picture import Picture
from stylegallery.matching.correspondence import Correspondence
from stylegallery.regions.descriptors import Descriptors
from stylegallery.regions.region_map import RegionMap


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """Everything computed once per image.

    Attributes:
        picture: The decoded original.
        latent: (1, C, h, w) clean latent at working size, UNet scale, float32.
        regions: Region map on the latent grid.
        descriptors: What matching knows of each region.
    """

    picture: Picture
    latent: Tensor
    regions: RegionMap
    descriptors: Descriptors

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors held, for cache budgets."""
        tensors = [self.picture.pixels, self.latent, self.regions.labels]
        tensors += [t for t in vars(self.descriptors).values() if isinstance(t, Tensor)]
        if self.picture.alpha is not None:
            tensors.append(self.picture.alpha)
        return sum(t.element_size() * t.nelement() for t in tensors)


@dataclass(frozen=True, eq=False)
class StyleJob:
    """One picture to make.

    Attributes:
        content: The image to restyle.
        styles: One or more references.
        routing: What `match` found for these, in this order.
        seed: The same seed gives the same pixels on the same hardware and versions.
        protect: (1, 1, H, W) in [0, 1] of the content's size; 1 keeps the original pixel.
    """

    content: PreparedImage
    styles: list[PreparedImage]
    routing: Correspondence
    seed: int = 0
    protect: Tensor | None = None


@dataclass(frozen=True)
class Step:
    """One optimisation step, for progress bars and traces.

    Attributes:
        index: From 0.
        total: Number of steps.
        timestep: Training timestep of the UNet call, 0 to 999.
        loss: style_loss + content_weight * content_loss.
    """

    index: int
    total: int
    timestep: int
    loss: float
    style_loss: float
    content_loss: float


@dataclass(frozen=True, eq=False)
class RestyledLatent:
    """What the sampler made of a job: a picture once it is decoded.

    Attributes:
        job: What was asked for.
        latent: (1, C, h, w) float32, on the engine's device.
        trace: The losses on the way.
    """

    job: StyleJob
    latent: Tensor
    trace: tuple[Step, ...]


@dataclass(frozen=True, eq=False)
class RestyledImage:
    """A restyled picture of the original's size, how it was routed, and the losses on the way."""

    picture: Picture
    routing: Correspondence
    trace: tuple[Step, ...]
