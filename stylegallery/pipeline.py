"""The engine: prepare images, match their regions, restyle. Start reading here."""

import torch
from torch import Tensor

from schemas.engine import EngineSpec
from schemas.params import StyleParams
from stylegallery import latents
from stylegallery.descriptors import describe
from stylegallery.encoders import SemanticEncoder, load_encoder
from stylegallery.errors import BadMask
from stylegallery.finish import check_protection, finish
from stylegallery.inversion import inversion_features
from stylegallery.methods import METHODS
from stylegallery.models import Models, load_models
from stylegallery.routing import Correspondence, Pin
from stylegallery.sampling import OnStep
from stylegallery.tone import match_tone
from stylegallery.types import Picture, PreparedImage, Stylized

_DEFAULTS = StyleParams()


class StyleGallery:
    """One diffusion model and one semantic encoder on one device.

    An engine holds no state between calls: everything about an image is in its PreparedImage.
    """

    def __init__(self, models: Models, encoder: SemanticEncoder) -> None:
        """Use models that are loaded already; see :meth:`load`."""
        self.models = models
        self.encoder = encoder

    @classmethod
    def load(cls, spec: EngineSpec | str = "embedded") -> "StyleGallery":
        """Load the engine of a spec, or of a model's name with defaults for the rest.

        Raises:
            ModelNotFound: model, encoder or device is not there; the message says what to do.
            UnsupportedModel: the model is of a kind that the engine does not know.
        """
        spec = EngineSpec(model=spec) if isinstance(spec, str) else spec
        models = load_models(spec)
        return cls(models, load_encoder(spec.encoder, models.device))

    def prepare(
        self, picture: Picture, params: StyleParams = _DEFAULTS, labels: Tensor | None = None
    ) -> PreparedImage:
        """Compute everything that is needed of an image once: latent, regions, descriptors.

        Args:
            picture: The image, of any size.
            params: Working size and segmentation parameters.
            labels: (H, W) int64 label image of the picture's size; positive numbers are regions
                that the user fixes. Without one, transparent pixels form a region.

        Raises:
            BadMask: `labels` has another size than the picture.
        """
        if labels is not None and tuple(labels.shape) != picture.size:
            raise BadMask(
                f"the label image is {labels.shape[1]}x{labels.shape[0]} px, but the image is "
                f"{picture.size[1]}x{picture.size[0]} px; make them the same size."
            )
        if labels is None and picture.alpha is not None:
            labels = (picture.alpha[0, 0] < 0.5).long()
        short = params.image_size or self.models.native_size
        size = latents.working_size(picture.size, short, self.models.vae_factor)
        latent = latents.encode(self.models, picture.pixels, size)
        features = inversion_features(self.models, latent, params.inversion_steps)
        semantic = self.encoder(picture.pixels)
        regions = METHODS[params.method].segment(features, semantic, latent, params, labels)
        descriptors = describe(regions, semantic, features)
        return PreparedImage(picture, latent, regions, descriptors)

    def match(
        self,
        content: PreparedImage,
        styles: list[PreparedImage],
        params: StyleParams = _DEFAULTS,
        weights: list[float] | None = None,
        pins: list[Pin] | None = None,
    ) -> Correspondence:
        """Match the content's regions to those of all references.

        Args:
            content: The image to restyle.
            styles: One or more references.
            params: Weights of the similarity's terms, gate and fallback.
            weights: Weight of each reference; equal when None.
            pins: The user's decisions, see :func:`stylegallery.routing.parse_pins`.

        Raises:
            BadRouting: a pin names a region that does not exist.
            ValueError: there is no reference.
        """
        if not styles:
            raise ValueError("at least one reference image is needed")
        described = [style.descriptors for style in styles]
        return METHODS[params.method].match(content.descriptors, described, params, weights, pins)

    def stylize(
        self,
        content: PreparedImage,
        styles: list[PreparedImage],
        routing: Correspondence,
        params: StyleParams = _DEFAULTS,
        *,
        seed: int = 0,
        protect: Tensor | None = None,
        on_step: OnStep | None = None,
    ) -> Stylized:
        """Restyle the content with the references as routed.

        Args:
            content: The image to restyle.
            styles: The references that `routing` was made for, in the same order.
            routing: From :meth:`match`.
            params: Steps, learning rate and weights.
            seed: The same seed gives the same pixels on the same hardware and versions.
            protect: (1, 1, H, W) in [0, 1]; 1 keeps the original pixel.
            on_step: Called after every step, for progress.

        Raises:
            BadMask: `protect` has another size than the picture.
            DidNotConverge: the optimisation produced numbers that are not finite.
        """
        if protect is not None:
            check_protection(protect, content.picture)
        restyle = METHODS[params.method].restyle[params.sampler]
        latent, trace = restyle(self.models, content, styles, routing, params, seed, on_step)
        with torch.no_grad():
            pixels = latents.decode(self.models, latent)
        if params.match_tone:
            pixels = match_tone(pixels, content, styles, routing)
        picture = finish(pixels, content, styles, routing, params, protect)
        return Stylized(picture, routing, trace)
