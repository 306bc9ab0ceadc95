"""Optimize a latent by the difference of two noise predictions (SMS, arXiv 2503.07601)."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from schemas.params import StyleParams
from stylegallery.adapters.adapter import Adapter
from stylegallery.adapters.layers import Branch, branches, on_device
from stylegallery.adapters.learning import new_factors, parameters, squared_errors
from stylegallery.guidance.loss_trace import LossTrace
from stylegallery.guidance.spectrum import Spectrum
from stylegallery.models.diffusion import Models
from stylegallery.models.lora import Factors
from stylegallery.models.prompts import Condition, joined
from stylegallery.sampling.adapted import shared_adapter
from stylegallery.sampling.optimise import OptimiseSampler
from stylegallery.types import RestyledLatent, Step, StyleJob

_CLEANEST, _NOISIEST = 20, 500
_ANCHORS = 8
_WARM_UP = 1 / 5  # of the steps
_LAST_RATE = 1 / 3
_FAKE_ALPHA, _FAKE_RATE = 32, 1e-3
_FAKE_LAYERS = ("attn1.to_q", "attn1.to_v")


class ScoreMatchingSampler(OptimiseSampler):
    """Moves a latent to where the adapted model finds it more likely than the plain one does.

    Each step adds noise to the latent and predicts it with the adapter and without. The
    difference, weighted by the noise schedule and by the relevance of each cell, is the step's
    direction; no gradient of the UNet is needed. Noise and the regularization's share of
    frequencies shrink over the steps, so forms are decided first.

    Departures from the published code: the content's start has its matches' colors; relevance
    compares the adapter on and off, with the style's words and without them if there are any; it
    is smoothed, since single cells are noise, and computed at eight of the steps; Adam has no
    weight decay, which pulls the latent towards gray; the model that stands for the present result
    is the plain one unless `fake_rank` is set; and the result is finished as in
    :class:`OptimiseSampler`.
    """

    def sample(self, jobs: list[StyleJob]) -> list[RestyledLatent]:
        """Optimize all contents at once, or one by one if each learns its own fake adapter."""
        if self.params.sms.fake_rank:
            return [OptimiseSampler.sample(self, [job])[0] for job in jobs]
        return super().sample(jobs)

    def descend(self, start: Tensor, jobs: list[StyleJob]) -> tuple[Tensor, list[tuple[Step, ...]]]:
        """Take `steps` steps of Adam along the difference of the predictions.

        Args:
            start: (B, C, h, w) float32 latents on the models' device.
            jobs: The B jobs, with one adapter.

        Returns:
            The latents (B, C, h, w) float32, and the steps of each job.

        Raises:
            DidNotConverge: a loss is not finite.
        """
        params, steps = self.params, self.params.steps
        scores = _Scores(self.models, shared_adapter(jobs), params)
        fake = _Fake(self.models, params) if params.sms.fake_rank else None
        spectrum = Spectrum((int(start.shape[-2]), int(start.shape[-1])), start.device)
        latent = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([latent], lr=params.learning_rate)
        trace = LossTrace(params.sms.spectrum_weight, self.on_step, steps)
        noises = _noises(jobs, start)
        relevance = torch.ones_like(start[:, :1])
        for index, timestep in enumerate(_timesteps(steps)):
            optimizer.param_groups[0]["lr"] = params.learning_rate * _rate(index, steps)
            noise = next(noises)
            if params.sms.relevance == "adapter" and _is_anchor(index, steps):
                relevance = relevance_of(scores.difference(start, noise, timestep))
            direction = relevance * scores.difference(latent.detach(), noise, timestep, fake)
            goal = latent.detach() - _variance(self.models, timestep) * direction
            off = 0.5 * (latent - goal).square().mean(dim=(1, 2, 3))
            moved = spectrum.low_frequencies(latent - start, timestep / _NOISIEST)
            optimizer.zero_grad(set_to_none=True)
            trace.loss(timestep, off, moved).backward()
            optimizer.step()
            trace.report_step()
            if fake is not None:
                fake.learn(latent.detach(), next(noises))
        return latent.detach(), trace.steps()


class _Scores:
    """Predictions of noise with the adapter and without, in one call.

    The adapted model follows the style's words too, the other one `prompt` alone, and both the
    guidance.
    """

    def __init__(self, models: Models, adapter: Adapter, params: StyleParams) -> None:
        self._models, self._scale = models, params.adapter.adapter_scale
        adapted = models.condition(params.prompts, adapted=True)
        plain = models.condition(params.prompts)
        self._told = replace(plain, prompt=joined([adapted.prompt, plain.prompt]))
        self._factors = on_device(adapter.factors, models)

    @torch.no_grad()
    def difference(
        self, latent: Tensor, noise: Tensor, timestep: int, fake: "_Fake | None" = None
    ) -> Tensor:
        """Return the noise (B, C, h, w) that the adapted model predicts less that of the other."""
        models, rows = self._models, len(latent)
        noisy = models.scheduler.add_noise(
            latent, noise, torch.tensor([timestep], device=models.device)
        )
        scales = _per_row([self._scale, 0.0], rows, models)
        added = [Branch(self._factors, scales)]
        if fake is not None:
            added.append(Branch(fake.factors, _per_row([0.0, fake.scale], rows, models)))
        with branches(models.unet, *added):
            both = models.denoise(torch.cat([noisy, noisy]), timestep, self._told).float()
        return _as_noise(models, timestep) * (both[:rows] - both[rows:])


class _Fake:
    """A low-rank change that learns the present result of one content, to tell it from the style.

    The model of the present result in distribution matching; published with rank 8, on queries
    and values, at 1e-3.
    """

    def __init__(self, models: Models, params: StyleParams) -> None:
        rank = params.sms.fake_rank
        self._models = models
        self._told = Condition(models.embedding(params.prompts.prompt))
        self._generator = torch.Generator().manual_seed(0)
        modules = models.unet.named_modules()
        layers = [name for name, _ in modules if name.endswith(_FAKE_LAYERS)]
        self.factors: Mapping[str, Factors] = new_factors(models, layers, rank, self._generator)
        self.scale = _FAKE_ALPHA / rank
        self._optimizer = torch.optim.AdamW(
            parameters(self.factors), lr=_FAKE_RATE, weight_decay=0.0
        )

    def learn(self, latent: Tensor, noise: Tensor) -> None:
        """Learn to predict the noise in a latent (1, C, h, w) for one step."""
        models = self._models
        drawn = torch.randint(_CLEANEST, _NOISIEST, (1,), generator=self._generator)
        timestep = drawn.to(models.device)
        with branches(models.unet, Branch(self.factors, _per_row([self.scale], 1, models))):
            error = squared_errors(models, latent, noise, timestep, self._told).mean()
        self._optimizer.zero_grad(set_to_none=True)
        (models.scheduler.alphas_cumprod[int(drawn)] ** 2 * error).backward()
        self._optimizer.step()


def relevance_of(difference: Tensor) -> Tensor:
    """Return how far the style changes each cell, (B, 1, h, w) in [0, 1], from (B, C, h, w).

    The mean over channels, its amount averaged over 3x3 cells, stretched to [0, 1]; 1 everywhere
    where all cells are equal.
    """
    amount = difference.mean(dim=1, keepdim=True).abs()
    smooth = F.avg_pool2d(F.pad(amount, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    low, high = smooth.amin(dim=(2, 3), keepdim=True), smooth.amax(dim=(2, 3), keepdim=True)
    return torch.where(high > low, (smooth - low) / (high - low), torch.ones_like(smooth))


def _timesteps(steps: int) -> list[int]:
    """Return the timestep of each step, from a range that narrows towards the cleanest.

    They are the same for all contents, so that these share UNet calls and do not depend on each
    other.
    """
    shares = torch.rand(steps, generator=torch.Generator().manual_seed(0)).tolist()
    highest = [max(_CLEANEST + 1, _NOISIEST * (1 - index / steps)) for index in range(steps)]
    return [
        int(_CLEANEST + share * (high - _CLEANEST))
        for share, high in zip(shares, highest, strict=True)
    ]


def _is_anchor(index: int, steps: int) -> bool:
    """Return whether the relevance is computed at this step; at the first it always is."""
    return index == 0 or index * _ANCHORS // steps != (index - 1) * _ANCHORS // steps


def _rate(index: int, steps: int) -> float:
    """Return the share of the learning rate: a linear rise, then a cosine to a third."""
    rise = max(1, round(_WARM_UP * steps))
    if index < rise:
        return (index + 1) / rise
    done = (index - rise) / max(1, steps - rise)
    return _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))


def _noises(jobs: list[StyleJob], like: Tensor) -> Iterator[Tensor]:
    """Yield noise (B, C, h, w) without end, each job's from its own seed."""
    generators = [torch.Generator().manual_seed(job.seed) for job in jobs]
    while True:
        drawn = [torch.randn(like[:1].shape, generator=generator) for generator in generators]
        yield torch.cat(drawn).to(like.device)


def _per_row(scales: list[float], rows: int, models: Models) -> Tensor:
    """Return (S * rows,) scales, each for `rows` rows in turn."""
    return torch.tensor(scales, device=models.device).repeat_interleave(rows)


def _variance(models: Models, timestep: int) -> float:
    """Return the variance of a denoising step from a timestep to the second one below it."""
    alphas, betas = models.scheduler.alphas_cumprod, models.scheduler.betas
    below = alphas[max(0, timestep - 2)]
    return float((1 - below) / (1 - alphas[timestep]) * betas[timestep])


def _as_noise(models: Models, timestep: int) -> float:
    """Return the factor that makes a difference of predictions one of predicted noise."""
    alpha = float(models.scheduler.alphas_cumprod[timestep])
    kind = models.scheduler.config.prediction_type
    if kind == "sample":
        return -math.sqrt(alpha / (1 - alpha))
    return math.sqrt(alpha) if kind == "v_prediction" else 1.0
