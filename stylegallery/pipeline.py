"""The engine: prepare images, match their regions, restyle. Start reading here."""

import torch
from torch import Tensor

from schemas.engine import EngineSpec
from schemas.params import StyleParams
from stylegallery.color.transfer import transfer_color
from stylegallery.errors import BadMask
from stylegallery.guidance.attention_cache import AttentionBank
from stylegallery.guidance.loss_trace import OnStep
from stylegallery.images.picture import Picture
from stylegallery.matching.correspondence import Correspondence, Pin
from stylegallery.methods.registry import METHODS
from stylegallery.models import vae
from stylegallery.models.depth import DepthEstimator
from stylegallery.models.diffusion import Models, load_models
from stylegallery.models.inversion import inversion_features
from stylegallery.models.sam import SamSegmenter
from stylegallery.models.semantic import SemanticEncoder, load_encoder
from stylegallery.postprocess import finish
from stylegallery.regions.descriptors import describe
from stylegallery.regions.priors import NO_PRIORS, SegmentationPriors
from stylegallery.regions.segmentation import whole
from stylegallery.types import Job, PreparedImage, Sampled, Stylized
from stylegallery.validation import check_picture, check_protection, check_references, check_routing

_DEFAULTS = StyleParams()


class StyleGallery:
    """One diffusion model and one semantic encoder, and if asked for depth and SAM, on one device.

    All that is known of an image is in its PreparedImage. Between calls an engine only remembers
    what its layers see of references, to save time; results do not depend on it.
    """

    def __init__(
        self,
        models: Models,
        encoder: SemanticEncoder,
        depth: DepthEstimator | None = None,
        sam: SamSegmenter | None = None,
        bank: AttentionBank | None = None,
    ) -> None:
        """Use models that are loaded already, and a bank of another budget; see :meth:`load`."""
        self.models = models
        self.encoder = encoder
        self.depth = depth
        self.sam = sam
        self._bank = AttentionBank() if bank is None else bank

    @classmethod
    def load(cls, spec: EngineSpec | str = "embedded") -> "StyleGallery":
        """Load the engine of a spec, or of a model's name with defaults for the rest.

        Raises:
            ModelNotFound: model, encoder, depth model, SAM or device is not there; the message
                says what to do.
            UnsupportedModel: the model or SAM is of a kind that the engine does not know.
        """
        spec = EngineSpec(model=spec) if isinstance(spec, str) else spec
        models = load_models(spec)
        return cls(
            models,
            load_encoder(spec.encoder, models.device),
            DepthEstimator(spec.depth, models.device) if spec.depth else None,
            SamSegmenter(spec.sam, models.device) if spec.sam else None,
        )

    def prepare(
        self, picture: Picture, params: StyleParams = _DEFAULTS, labels: Tensor | None = None
    ) -> PreparedImage:
        """Compute everything that is needed of an image once: latent, regions, descriptors.

        Args:
            picture: The image, of any size that `images.codec.check_sides` allows.
            params: Working size and segmentation parameters.
            labels: (H, W) int64 label image of the picture's size; positive numbers are regions
                that the user fixes. Without one, transparent pixels form a region.

        Raises:
            BadImage: the picture cannot be used: its shape, numbers or sides, or too small a
                working size.
            BadMask: `labels` has another size than the picture.
        """
        check_picture(picture)
        if labels is not None and tuple(labels.shape) != picture.size:
            raise BadMask(
                f"the label image is {labels.shape[1]}x{labels.shape[0]} px, but the image is "
                f"{picture.size[1]}x{picture.size[0]} px; make them the same size."
            )
        if labels is None and picture.alpha is not None:
            labels = (picture.alpha[0, 0] < 0.5).long()
        short = params.image_size or self.models.native_size
        size = vae.working_size(picture.size, short, self.models.vae_factor)
        latent = vae.encode(self.models, picture.pixels, size)
        features = inversion_features(self.models, latent, params.inversion_steps)
        semantic = self.encoder(picture.pixels)
        segment = METHODS[params.method].segment
        priors = NO_PRIORS if segment is whole else self._priors(picture, labels, latent)
        regions = segment(features, semantic, latent, params, priors)
        descriptors = describe(regions, semantic, features)
        return PreparedImage(picture, latent, regions, descriptors)

    def _priors(
        self, picture: Picture, labels: Tensor | None, latent: Tensor
    ) -> SegmentationPriors:
        grid = (int(latent.shape[-2]), int(latent.shape[-1]))
        depth = None if self.depth is None else self.depth(picture.pixels, grid)
        segments = None if self.sam is None else self.sam(picture.pixels)
        return SegmentationPriors(labels, depth, segments)

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
            pins: The user's decisions, see :func:`stylegallery.matching.correspondence.parse_pins`.

        Raises:
            BadReferences: there is none, or not one positive weight for each.
            BadRouting: a pin names a region or reference that does not exist.
        """
        check_references(len(styles), weights)
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
            BadRouting: `routing` was made for images with other numbers of regions.
            DidNotConverge: the optimisation produced numbers that are not finite.
        """
        job = Job(content, styles, routing, seed, protect)
        return self.stylize_batch([job], params, on_step=on_step)[0]

    def stylize_batch(
        self, jobs: list[Job], params: StyleParams = _DEFAULTS, *, on_step: OnStep | None = None
    ) -> list[Stylized]:
        """Restyle several contents, those of one working size in the same UNet calls.

        The results are those of :meth:`stylize` up to rounding, which grows over the steps:
        processors multiply matrices of another height in another order. Memory grows with the
        number of jobs.

        Args:
            jobs: What to make, of any sizes and galleries.
            params: Steps, learning rate and weights.
            on_step: Called after every step of every size with the mean losses.

        Returns:
            The results in the order of the jobs.

        Raises:
            BadMask: a `protect` has another size than its picture.
            BadRouting: a routing was made for images with other numbers of regions.
            DidNotConverge: the optimisation produced numbers that are not finite.
        """
        return [
            self.decode(one, params) for one in self.sample_batch(jobs, params, on_step=on_step)
        ]

    def sample_batch(
        self, jobs: list[Job], params: StyleParams = _DEFAULTS, *, on_step: OnStep | None = None
    ) -> list[Sampled]:
        """Do the first part of :meth:`stylize_batch`, all that needs the UNet.

        Arguments and errors are the same; :meth:`decode` does the rest.
        """
        sizes: dict[torch.Size, list[int]] = {}
        for index, job in enumerate(jobs):
            check_routing(job.routing, job.content, job.styles)
            if job.protect is not None:
                check_protection(job.protect, job.content.picture)
            sizes.setdefault(job.content.latent.shape, []).append(index)
        restyle = METHODS[params.method].restyle[params.sampler]
        made: dict[int, Sampled] = {}
        for indices in sizes.values():
            batch = [jobs[index] for index in indices]
            restyled, traces = restyle(self.models, batch, params, self._bank, on_step)
            for index, latent, trace in zip(indices, restyled.split(1), traces, strict=True):
                made[index] = Sampled(jobs[index], latent, trace)
        return [made[index] for index in range(len(jobs))]

    def decode(self, sampled: Sampled, params: StyleParams = _DEFAULTS) -> Stylized:
        """Do the rest of :meth:`stylize_batch` for one job: pixels, tones, size, alpha.

        Another thread may do this while the engine samples.

        Args:
            sampled: From :meth:`sample_batch` of this engine.
            params: Those that it was sampled with.
        """
        job = sampled.job
        pixels = vae.decode(self.models, sampled.latent)
        if params.match_tone:
            images = (job.content, job.styles, job.routing)
            pixels = transfer_color(pixels, *images, params.tone_lightness)
        picture = finish(pixels, job.content, job.styles, job.routing, params, job.protect)
        return Stylized(picture, job.routing, sampled.trace)
