"""Values passed between the stages of the engine. Tensors stay on the engine's device."""

from dataclasses import dataclass

from torch import Tensor

from stylegallery.adapters.adapter import Adapter
from stylegallery.images.picture import Picture
from stylegallery.matching.correspondence import Correspondence
from stylegallery.regions.descriptors import Descriptors
from stylegallery.regions.region_map import RegionMap


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """An image with everything that is computed of it once.

    Attributes:
        picture: The decoded original.
        latent: (1, C, h, w) clean latent at working size, UNet scale, float32.
        regions: Region map on the latent grid.
        descriptors: Descriptors of the regions, for matching.
    """

    picture: Picture
    latent: Tensor
    regions: RegionMap
    descriptors: Descriptors

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors, for cache budgets."""
        tensors = [self.picture.pixels, self.latent, self.regions.labels]
        tensors += [t for t in vars(self.descriptors).values() if isinstance(t, Tensor)]
        if self.picture.alpha is not None:
            tensors.append(self.picture.alpha)
        return sum(t.element_size() * t.nelement() for t in tensors)


@dataclass(frozen=True, eq=False)
class StyleJob:
    """One picture to restyle.

    Attributes:
        content: The image to restyle.
        styles: One or more references.
        routing: The correspondence of these images, with the references in this order.
        seed: Seed of the noise; equal seeds give equal pixels on equal hardware and versions.
        protect: (1, 1, H, W) in [0, 1] of the content's size; 1 keeps the original pixel.
        adapters: Learnt styles, for methods that learn: one of all references, or one for each
            in their order, as `learns` of :class:`schemas.methods.MethodInfo` says. Without any
            the engine learns them.
    """

    content: PreparedImage
    styles: list[PreparedImage]
    routing: Correspondence
    seed: int = 0
    protect: Tensor | None = None
    adapters: tuple[Adapter, ...] = ()


@dataclass(frozen=True)
class Step:
    """One step of a sampler, for progress bars and traces.

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
    """The result of sampling a job, still to be decoded.

    Attributes:
        job: The job.
        latent: (1, C, h, w) float32, on the engine's device.
        trace: Losses of every step; empty for methods without an energy.
        picture: The finished picture, if it was needed already.
        form: Share of the product's form that it keeps, if that was measured.
        strengths: Shares of the strength that were tried for the form, in order.
    """

    job: StyleJob
    latent: Tensor
    trace: tuple[Step, ...]
    picture: Picture | None = None
    form: float | None = None
    strengths: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class RestyledImage:
    """A restyled picture.

    Attributes:
        picture: The picture, of the original's size.
        routing: Which regions it took its style from.
        trace: Losses of every step.
        form: Share of the product's form that it keeps (:func:`stylegallery.form.form_kept`), if
            that was measured.
        strengths: Shares of the strength that were tried until its form was kept, in order.
    """

    picture: Picture
    routing: Correspondence
    trace: tuple[Step, ...]
    form: float | None = None
    strengths: tuple[float, ...] = ()
