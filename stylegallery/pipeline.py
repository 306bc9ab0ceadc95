"""The engine: prepare images, match their regions, restyle. Start reading here."""

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from schemas.engine import EngineSpec
from schemas.methods import LearntFrom, method_info
from schemas.params import StyleParams
from stylegallery.adapters.adapter import Adapter
from stylegallery.adapters.adapter_cache import AdapterCache
from stylegallery.adapters.crops import check_learnable
from stylegallery.adapters.key import adapter_key
from stylegallery.adapters.learning import OnLearn, learn_adapter
from stylegallery.adapters.recipe import recipe_for
from stylegallery.color.transfer import transfer_color
from stylegallery.contrastive.design import design_pair
from stylegallery.contrastive.learning import learn_contrastive
from stylegallery.errors import BadMask
from stylegallery.form import keep_form, weakened, with_form
from stylegallery.guidance.attention_cache import AttentionCache
from stylegallery.guidance.loss_trace import OnStep
from stylegallery.images.picture import Picture
from stylegallery.matching.correspondence import Correspondence, Pin
from stylegallery.methods.base import ImageFeatures, MatchRequest, RegionFinder, StyleMethod
from stylegallery.methods.registry import method_class
from stylegallery.models import vae
from stylegallery.models.depth import DepthEstimator
from stylegallery.models.diffusion import Models, load_models
from stylegallery.models.inversion import inversion_features
from stylegallery.models.sam import SamSegmenter
from stylegallery.models.semantic import SemanticEncoder, load_encoder
from stylegallery.postprocess import postprocess
from stylegallery.regions.descriptors import describe, describe_places
from stylegallery.regions.priors import SegmentationPriors
from stylegallery.regions.region_map import RegionMap
from stylegallery.sampling.finer import at_sampling_size, sample_finer
from stylegallery.sampling.sizes import analysis_size, sampling_sizes
from stylegallery.types import PreparedImage, RestyledImage, RestyledLatent, StyleJob
from stylegallery.validation import (
    check_adapters,
    check_learning,
    check_picture,
    check_protection,
    check_references,
    check_routing,
)

_DEFAULTS = StyleParams()


class StyleGallery:
    """A diffusion model, a semantic encoder and optionally depth and SAM models, on one device.

    All state of an image is in its PreparedImage. Between calls an engine only caches attention
    features of references, the styles that it has learnt and embeddings of prompts; results do not
    depend on the caches.
    """

    def __init__(
        self,
        models: Models,
        encoder: SemanticEncoder,
        depth: DepthEstimator | None = None,
        sam: SamSegmenter | None = None,
        cache: AttentionCache | None = None,
    ) -> None:
        """Use loaded models, and a cache with another budget if given; see :meth:`load`."""
        self.models = models
        self.encoder = encoder
        self.depth = depth
        self.sam = sam
        self._cache = AttentionCache() if cache is None else cache
        self._learnt = AdapterCache()

    @classmethod
    def load(cls, spec: EngineSpec | str = "embedded") -> "StyleGallery":
        """Load the engine of a spec, or of a model's name with defaults for the rest.

        Raises:
            ModelNotFound: model, encoder, depth model, SAM or device is not available.
            UnsupportedModel: the model or SAM is of an unknown kind.
        """
        spec = EngineSpec(model=spec) if isinstance(spec, str) else spec
        models = load_models(spec)
        return cls(
            models,
            load_encoder(spec.encoder, models.device),
            DepthEstimator(spec.depth, models.device) if spec.depth else None,
            SamSegmenter(spec.sam, models.device) if spec.sam else None,
        )

    def encode_prompts(self, params: StyleParams) -> None:
        """Encode the texts of parameters, so that a model that takes none is refused at once.

        Raises:
            UnsupportedModel: there is text, and the model has no text encoder.
        """
        self.models.prompts.encode(params.prompts.texts)

    def prepare(
        self, picture: Picture, params: StyleParams = _DEFAULTS, labels: Tensor | None = None
    ) -> PreparedImage:
        """Compute latent, regions and descriptors of an image, once for all uses of it.

        Methods that see an image as one region need the latent alone, which takes a small part of
        the time.

        Args:
            picture: The image, of any size that `images.codec.check_sides` accepts.
            params: Method, working size and segmentation parameters.
            labels: (H, W) int64 label image of the picture's size; positive numbers are regions
                that the user fixes. Without one, transparent pixels form a region.

        Raises:
            BadImage: shape, values or sides of the picture are invalid, or the working size is
                too small.
            BadMask: `labels` has another size than the picture.
        """
        check_picture(picture)
        if labels is not None and tuple(labels.shape) != picture.size:
            raise BadMask(
                f"the label image is {labels.shape[1]}x{labels.shape[0]} px, but the image is "
                f"{picture.size[1]}x{picture.size[0]} px; make them the same size."
            )
        method = self._method(params)
        short = analysis_size(params, self.models)
        size = vae.working_size(picture.size, short, self.models.vae_factor)
        latent = vae.encode(self.models, picture.pixels, size)
        if not isinstance(method, RegionFinder):
            whole = RegionMap.whole((int(latent.shape[-2]), int(latent.shape[-1])))
            return PreparedImage(picture, latent, whole, describe_places(whole))
        features = inversion_features(self.models, latent, params.regions.inversion_steps)
        semantic = self.encoder(picture.pixels)
        priors = self._priors(picture, labels, latent)
        regions = method.segment(ImageFeatures(latent, features, semantic, priors))
        return PreparedImage(picture, latent, regions, describe(regions, semantic, features))

    def learn(
        self,
        styles: list[Picture],
        params: StyleParams = _DEFAULTS,
        weights: list[float] | None = None,
        *,
        names: list[str] | None = None,
        seed: int = 0,
        design: Picture | None = None,
        on_learn: OnLearn | None = None,
    ) -> Adapter:
        """Learn the style of references, for methods that use a learnt style, such as `sms`.

        With the embedded model this takes one to two minutes on one core, and five for
        `contrastive-lora`; the result serves any number of contents. Methods that learn each
        reference by itself, such as `diffstyler`, need one call a reference. See
        :func:`stylegallery.adapters.learning.learn_adapter` and
        :func:`stylegallery.contrastive.learning.learn_contrastive`.

        Args:
            styles: One or more references of at least 96 px a side, in any order.
            params: Settings of learning and the working size; strokes are learnt at that size.
            weights: How often each reference is drawn; equal when None.
            names: Names of the references in messages.
            seed: Equal seeds give equal adapters on equal hardware, versions and threads.
            design: For `contrastive-lora`: what the reference shows, without its texture. Without
                one it is made of the reference.
            on_learn: Called after every step with the steps done and the steps in all.

        Raises:
            BadImage: a picture is invalid, or the working size is too small.
            BadReferences: there is no reference, not one positive weight for each, a reference is
                small, mostly transparent or flat, or a method does not take what is given.
            DidNotConverge: values are not finite.
            UnsupportedModel: the model lacks a block that the parameters name.
        """
        check_references(len(styles), weights)
        check_learning(len(styles), design, params.method)
        named = names or [f"reference {place} (from 0)" for place in range(len(styles))]
        for picture, name in zip(styles, named, strict=True):
            check_picture(picture)
            check_learnable(picture, name)
        recipe = recipe_for(self.models, params)
        if params.method == "contrastive-lora":
            pair = design_pair(styles[0], design, recipe.sides[0], named[0])
            return learn_contrastive(self.models, pair, recipe, params.contrastive, seed, on_learn)
        shares = weights or [1.0] * len(styles)
        return learn_adapter(self.models, styles, shares, recipe, seed, on_learn)

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
            params: Method, weights of the similarity's terms, gate and fallback.
            weights: Weight of each reference; equal when None.
            pins: The user's decisions, see :func:`stylegallery.matching.correspondence.parse_pins`.

        Raises:
            BadReferences: there is no reference, or not one positive weight for each.
            BadRouting: a pin names a region or reference that does not exist.
        """
        check_references(len(styles), weights)
        described = [style.descriptors for style in styles]
        request = MatchRequest(content.descriptors, described, weights, pins)
        return self._method(params).match(request)

    def stylize(
        self,
        content: PreparedImage,
        styles: list[PreparedImage],
        routing: Correspondence,
        params: StyleParams = _DEFAULTS,
        *,
        seed: int = 0,
        protect: Tensor | None = None,
        adapters: tuple[Adapter, ...] = (),
        on_step: OnStep | None = None,
    ) -> RestyledImage:
        """Restyle the content with the references as routed.

        Args:
            content: The image to restyle.
            styles: The references of `routing`, in the same order.
            routing: From :meth:`match`.
            params: Method, sampler and their parameters.
            seed: Equal seeds give equal pixels on equal hardware and versions.
            protect: (1, 1, H, W) in [0, 1]; 1 keeps the original pixel.
            adapters: From :meth:`learn`, for methods that learn: one of all references, or one
                for each, as the method needs. Without any they are learnt here, once for equal
                references.
            on_step: Called after every step.

        Raises:
            BadMask: `protect` has another size than the picture.
            BadReferences: no style can be learnt from a reference, or the number of adapters is
                not the method's.
            BadRouting: `routing` was made for images with other numbers of regions.
            DidNotConverge: a loss is not finite.
        """
        job = StyleJob(content, styles, routing, seed, protect, adapters)
        return self.stylize_batch([job], params, on_step=on_step)[0]

    def stylize_batch(
        self,
        jobs: list[StyleJob],
        params: StyleParams = _DEFAULTS,
        *,
        on_step: OnStep | None = None,
    ) -> list[RestyledImage]:
        """Restyle several contents; those of one working size and style share UNet calls.

        Results equal those of :meth:`stylize` up to rounding, which depends on the batch size
        and grows over the steps. Memory grows with the number of jobs.

        Args:
            jobs: Jobs of any sizes and galleries.
            params: Method, sampler and their parameters.
            on_step: Called after every step of every working size, with the mean losses.

        Returns:
            The results in the order of the jobs.

        Raises:
            BadMask: a `protect` has another size than its picture.
            BadReferences: no style can be learnt from a reference, or the number of adapters is
                not the method's.
            BadRouting: a routing was made for images with other numbers of regions.
            DidNotConverge: a loss is not finite.
        """
        return [
            self.decode(one, params) for one in self.sample_batch(jobs, params, on_step=on_step)
        ]

    def sample_batch(
        self,
        jobs: list[StyleJob],
        params: StyleParams = _DEFAULTS,
        *,
        on_step: OnStep | None = None,
    ) -> list[RestyledLatent]:
        """Do the part of :meth:`stylize_batch` that needs the UNet; :meth:`decode` does the rest.

        Arguments and errors are those of :meth:`stylize_batch`.
        """
        for job in jobs:
            check_routing(job.routing, job.content, job.styles)
            if job.protect is not None:
                check_protection(job.protect, job.content.picture)
        if learns := method_info(params.method).learns:
            for job in jobs:
                check_adapters(len(job.adapters), len(job.styles), learns)
            jobs = [replace(job, adapters=self._adapters(job, params, learns)) for job in jobs]
        jobs = [at_sampling_size(job, params, self.models, self._cache) for job in jobs]
        groups: dict[tuple[torch.Size, tuple[Adapter, ...]], list[int]] = {}
        for index, job in enumerate(jobs):
            groups.setdefault((job.content.latent.shape, job.adapters), []).append(index)
        method = self._method(params)
        made: dict[int, RestyledLatent] = {}
        for indices in groups.values():
            restyled = method.restyle([jobs[index] for index in indices], on_step)
            made.update(zip(indices, restyled, strict=True))
        finished = [self._finer(made[index], params, on_step) for index in range(len(jobs))]
        return [self._with_form(one, params, on_step) for one in finished]

    def decode(self, restyled: RestyledLatent, params: StyleParams = _DEFAULTS) -> RestyledImage:
        """Decode a latent and restore colors, size, detail, protected pixels and alpha.

        Another thread may call this while the engine samples.

        Args:
            restyled: From :meth:`sample_batch` of this engine.
            params: Those that it was sampled with.
        """
        made = restyled
        picture = made.picture or self._picture(made, params)
        return RestyledImage(picture, made.job.routing, made.trace, made.form, made.strengths)

    def _picture(self, restyled: RestyledLatent, params: StyleParams) -> Picture:
        pixels, job = vae.decode(self.models, restyled.latent), restyled.job
        if params.tones.match_tone:
            images = (job.content, job.styles, job.routing)
            pixels = transfer_color(pixels, *images, params.tones.tone_lightness)
        return postprocess(pixels, job, params)

    def _with_form(
        self, first: RestyledLatent, params: StyleParams, on_step: OnStep | None
    ) -> RestyledLatent:
        """Make a result again if its product has lost its form."""
        floor = params.form.form_floor
        if not floor or params.sampler != "guided":
            return first

        def measured(made: RestyledLatent, used: StyleParams) -> RestyledLatent:
            return with_form(made, self._picture(made, used))

        def again(share: float) -> RestyledLatent:
            weaker = weakened(params, share)
            made = self._method(weaker).restyle([first.job], on_step)[0]
            return measured(self._finer(made, weaker, on_step), weaker)

        return keep_form(measured(first, params), floor, again)

    def _finer(
        self, restyled: RestyledLatent, params: StyleParams, on_step: OnStep | None
    ) -> RestyledLatent:
        """Sample a result again at each finer size."""
        sizes = sampling_sizes(params, self.models, restyled.job.content.picture.size)
        for level, short in enumerate(sizes[1:]):
            arguments = (self.models, params, self._cache, restyled, short)
            restyled = sample_finer(*arguments, on_step=on_step, level=level)
        return restyled

    def _method(self, params: StyleParams) -> StyleMethod:
        return method_class(params.method)(self.models, params, self._cache)

    def _adapters(
        self, job: StyleJob, params: StyleParams, learns: LearntFrom
    ) -> tuple[Adapter, ...]:
        """Return the job's adapters, or those learnt from its references."""
        if job.adapters:
            return job.adapters
        if learns == "reference":
            return tuple(self._learnt_from([style], [1.0], params) for style in job.styles)
        weights: list[float] = job.routing.log_prior.exp().tolist()  # one region a reference
        return (self._learnt_from(job.styles, weights, params),)

    def _learnt_from(
        self, styles: list[PreparedImage], weights: list[float], params: StyleParams
    ) -> Adapter:
        """Return the adapter of references, which are learnt once."""
        latents = [style.latent.cpu().numpy().tobytes() for style in styles]
        versions = [hashlib.sha256(latent).hexdigest() for latent in latents]
        key = adapter_key("", list(zip(versions, weights, strict=True)), params)
        pictures = [style.picture for style in styles]
        return self._learnt.get(key, lambda: self.learn(pictures, params, weights))

    def _priors(
        self, picture: Picture, labels: Tensor | None, latent: Tensor
    ) -> SegmentationPriors:
        if labels is None and picture.alpha is not None:
            labels = (picture.alpha[0, 0] < 0.5).long()
        grid = (int(latent.shape[-2]), int(latent.shape[-1]))
        depth = None if self.depth is None else self.depth(picture.pixels, grid)
        segments = None if self.sam is None else self.sam(picture.pixels)
        return SegmentationPriors(labels, depth, segments)
