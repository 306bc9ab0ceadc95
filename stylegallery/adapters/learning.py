"""Learn an adapter: low-rank changes with which a UNet predicts the noise in references better."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

import torch
from torch import Tensor

from stylegallery.adapters.adapter import Adapter, as_stored
from stylegallery.adapters.crops import Crops
from stylegallery.adapters.layers import Branch, branches
from stylegallery.adapters.recipe import Recipe
from stylegallery.errors import DidNotConverge
from stylegallery.images.picture import Picture
from stylegallery.models.diffusion import Models
from stylegallery.models.lora import Factors
from stylegallery.models.prompts import Condition

OnLearn = Callable[[int, int], None]
"""Callback after every training step: steps done, and steps in all."""

NOISIEST = 800
"""Timesteps from here on are not drawn: only the coarsest layout is decided there."""
_PROBE = (50, 150, 300, 500, 700)
_PROBE_CROPS = 4
WEIGHT_DECAY = 0.01


def learn_adapter(
    models: Models,
    pictures: Sequence[Picture],
    weights: Sequence[float],
    recipe: Recipe,
    seed: int = 0,
    on_learn: OnLearn | None = None,
) -> Adapter:
    """Learn the style of references: low-rank adaptation (arXiv 2106.09685) by AdamW.

    Noise is added to crops of the references, and the model learns to predict it. Equal arguments
    give equal values on equal hardware, versions and numbers of threads.

    Args:
        models: The diffusion model; its weights do not change.
        pictures: One or more references; their order does not matter.
        weights: How often each reference is drawn, in relation to the others.
        recipe: Settings of learning.
        seed: Of start, crops, noise and timesteps.
        on_learn: Called after every step.

    Raises:
        DidNotConverge: values are not finite, with half the learning rate either.
    """
    given = sorted(zip(pictures, weights, strict=True), key=lambda pair: _digest(pair[0]))
    crops = Crops(models, given, recipe)
    probe = Probe(models, crops, recipe, seed)
    before = probe.error()
    for rate in (recipe.rate, recipe.rate / 2):
        factors = _train(models, crops, recipe, rate, seed, on_learn)
        with branches(models.unet, Branch(factors, torch.ones(1, device=models.device))):
            after = probe.error()
        stored = as_stored(factors, recipe.strength)
        if all(factor.isfinite().all() for pair in stored.values() for factor in pair):
            settings = {**asdict(recipe), "layers": len(recipe.layers), "rate": rate}
            settings["sides"] = list(recipe.sides)  # as JSON has it
            errors = {"error_before": before, "error_after": after}
            return Adapter(stored, {**settings, **errors, "seed": seed, "references": len(given)})
    raise DidNotConverge(
        "learning the style gives values that are not finite; lower adapter_rate, or use float32."
    )


def _digest(picture: Picture) -> str:
    return hashlib.sha256(picture.pixels.numpy().tobytes()).hexdigest()


def new_factors(
    models: Models, layers: Sequence[str], rank: int, generator: torch.Generator
) -> dict[str, Factors]:
    """Return factors to train, on the models' device: random down, and up zero.

    Args:
        models: The diffusion model.
        layers: Names of linear layers and convolutions.
        rank: Rank r; the down factors have the standard deviation 1/r.
        generator: On the CPU.
    """
    made: dict[str, Factors] = {}
    for name in layers:
        shape = models.unet.get_submodule(name).weight.shape
        down = torch.randn(rank, *shape[1:], generator=generator) / rank
        up = torch.zeros(shape[0], rank, *(1,) * len(shape[2:]))
        made[name] = (
            down.to(models.device).requires_grad_(),
            up.to(models.device).requires_grad_(),
        )
    return made


def parameters(factors: Mapping[str, Factors]) -> list[Tensor]:
    """Return all factors in one list, for an optimizer."""
    return [factor for pair in factors.values() for factor in pair]


def _train(
    models: Models,
    crops: Crops,
    recipe: Recipe,
    rate: float,
    seed: int,
    on_learn: OnLearn | None,
) -> dict[str, Factors]:
    generator = torch.Generator().manual_seed(seed)
    factors = new_factors(models, recipe.layers, recipe.rank, generator)
    optimizer = torch.optim.AdamW(parameters(factors), lr=rate, weight_decay=WEIGHT_DECAY)
    scales = torch.ones(1, device=models.device)
    told = Condition(models.embedding(recipe.prompt))
    with torch.enable_grad(), branches(models.unet, Branch(factors, scales)):
        for step in range(recipe.steps):
            latents, opacity = crops.draw(generator, recipe.batch)
            timesteps = torch.randint(NOISIEST, (recipe.batch,), generator=generator)
            noise = torch.randn(latents.shape, generator=generator).to(models.device)
            optimizer.zero_grad(set_to_none=True)
            timesteps = timesteps.to(models.device)
            opaque_error(models, latents, opacity, noise, timesteps, told).backward()
            optimizer.step()
            if on_learn is not None:
                on_learn(step + 1, recipe.steps)
    return factors


def squared_errors(
    models: Models, latents: Tensor, noise: Tensor, timesteps: Tensor, condition: Condition
) -> Tensor:
    """Return the squared errors (B, C, h, w) of the prediction for noisy latents.

    Args:
        models: The diffusion model, which predicts noise, velocity or the clean latent.
        latents: (B, C, h, w) clean latents.
        noise: (B, C, h, w).
        timesteps: (B,) int64.
        condition: Text of the predictions.
    """
    scheduler = models.scheduler
    noisy = scheduler.add_noise(latents, noise, timesteps)
    kind = scheduler.config.prediction_type
    if kind == "v_prediction":
        target = scheduler.get_velocity(latents, noise, timesteps)
    else:
        target = noise if kind == "epsilon" else latents
    errors: Tensor = (models.denoise(noisy, timesteps, condition).float() - target).square()
    return errors


def opaque_error(
    models: Models,
    latents: Tensor,
    opacity: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    condition: Condition,
) -> Tensor:
    """Return the mean squared error () of the prediction in the opaque cells."""
    squares = squared_errors(models, latents, noise, timesteps, condition)
    return (squares * opacity).mean() / opacity.mean()


class Probe:
    """Measures the error of the prediction on fixed crops, noise and timesteps."""

    def __init__(self, models: Models, crops: Crops, recipe: Recipe, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed + 1)
        self._models, self._told = models, Condition(models.embedding(recipe.prompt))
        self._crops = [crops.draw(generator, 1) for _ in range(_PROBE_CROPS)]
        self._noise = [
            torch.randn(latent.shape, generator=generator).to(models.device)
            for latent, _ in self._crops
        ]

    @torch.no_grad()
    def error(self) -> float:
        """Return the mean error of the model as it is now, with the branches it has."""
        errors = [
            opaque_error(self._models, latent, opacity, noise, self._at(timestep), self._told)
            for (latent, opacity), noise in zip(self._crops, self._noise, strict=True)
            for timestep in _PROBE
        ]
        return float(torch.stack(errors).mean())

    def _at(self, timestep: int) -> Tensor:
        return torch.tensor([timestep], device=self._models.device)
