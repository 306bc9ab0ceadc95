"""Learn the texture of a reference as an adapter, apart from what the reference shows."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, replace

import torch
from torch import Tensor

from schemas.contrastive import ContrastiveParams
from stylegallery.adapters.adapter import Adapter, as_stored
from stylegallery.adapters.layers import Branch, branches
from stylegallery.adapters.learning import (
    NOISIEST,
    WEIGHT_DECAY,
    OnLearn,
    Probe,
    new_factors,
    opaque_error,
    parameters,
)
from stylegallery.adapters.recipe import Recipe
from stylegallery.contrastive.complements import complementary_pairs
from stylegallery.contrastive.design import DesignPair
from stylegallery.contrastive.loss import contrast_loss
from stylegallery.contrastive.pair_crops import PairBatch, PairCrops
from stylegallery.contrastive.style_blocks import (
    block_similarities,
    chosen_blocks,
    layers_of_blocks,
)
from stylegallery.errors import DidNotConverge
from stylegallery.models.diffusion import Models
from stylegallery.models.lora import Factors
from stylegallery.models.prompts import Condition
from stylegallery.models.vae import encode, working_size

_OTHERS = 0.1
"""Weight of the complementary pairs beside the reference, as published."""


def learn_contrastive(
    models: Models,
    pair: DesignPair,
    recipe: Recipe,
    params: ContrastiveParams,
    seed: int = 0,
    on_learn: OnLearn | None = None,
) -> Adapter:
    """Learn what a reference has and its design lacks (contrastive LoRA, arXiv 2509.18948).

    Two adapters are trained on one UNet. The content adapter, on all layers, learns the design.
    The style adapter, on the style blocks alone, learns the reference with the content adapter on,
    so that it need not learn what the design explains. In a second stage, half as long, a contrast
    makes its effect alike on different designs. Only the style adapter is returned.

    Departures from the authors' code: adapters stand for prompts, because a model without text has
    none, so `ε_des` is the effect of the content adapter and `ε_emb` that of both, with the style's
    words if there are any; the
    complementary pictures are restyled photos instead of generated ones; designs are computed
    instead of generated; and block similarities are measured on the model instead of fixed.

    Args:
        models: The diffusion model; its weights do not change.
        pair: The reference and its design.
        recipe: Settings of learning.
        params: Style blocks and the weight of the contrast.
        seed: Of starts, crops, noise and timesteps.
        on_learn: Called after every step of both stages.

    Raises:
        BadReferences: reference and design look the same to the model.
        DidNotConverge: values are not finite, with half the learning rate either.
        UnsupportedModel: the model has no block of a name in `style_blocks`.
    """
    size = working_size(pair.textured.size, recipe.sides[0], models.vae_factor)
    sides = [encode(models, one.pixels, size) for one in (pair.textured, pair.design)]
    similarities = block_similarities(models, *sides)
    blocks = chosen_blocks(models, params.style_blocks, similarities)
    for rate in (recipe.rate, recipe.rate / 2):
        training = Training(models, pair, replace(recipe, rate=rate), blocks, seed)
        training.run(params.contrast_weight, size, on_learn)
        stored = as_stored(training.style, recipe.strength)
        if all(factor.isfinite().all() for factor in parameters(stored)):
            rounded = {name: round(value, 6) for name, value in similarities.items()}
            notes = {**training.notes(), "contrast_weight": params.contrast_weight}
            chosen = {"style_blocks": blocks, "similarities": rounded}
            return Adapter(stored, {**notes, **chosen})
    raise DidNotConverge(
        "learning the texture gives values that are not finite; lower adapter_rate, or use float32."
    )


class Training:
    """Both adapters under training.

    Attributes:
        content: Factors of the content adapter, on all layers.
        style: Factors of the style adapter, on the layers of the style blocks.
        crops: Crops of the reference and its design.
    """

    def __init__(
        self, models: Models, pair: DesignPair, recipe: Recipe, blocks: list[str], seed: int
    ) -> None:
        self._models, self._pair, self._recipe, self._blocks = models, pair, recipe, blocks
        self._seed, self._generator = seed, torch.Generator().manual_seed(seed)
        layers = layers_of_blocks(recipe.layers, blocks)
        self.content = new_factors(models, recipe.layers, recipe.rank, self._generator)
        self.style = new_factors(models, layers, recipe.rank, self._generator)
        self._optimizers = [
            torch.optim.AdamW(parameters(one), lr=recipe.rate, weight_decay=WEIGHT_DECAY)
            for one in (self.content, self.style)
        ]
        self.crops = PairCrops(models, [pair], recipe)
        self._measured: dict[str, float] = {}
        self._silent = Condition(models.embedding(""))
        self._told = Condition(models.embedding(recipe.prompt))

    def run(self, contrast: float, size: tuple[int, int], on_learn: OnLearn | None) -> None:
        """Take all steps of both stages; no second stage if the weight of the contrast is 0."""
        first = self._recipe.steps
        total = first + (first // 2 if contrast else 0)
        others: PairCrops | None = None
        for step in range(total):
            if step == first:
                style = Adapter(as_stored(self.style, self._recipe.strength))
                arguments = (self._models, self._pair, style, self._blocks, size)
                at_size = replace(self._recipe, sides=(min(size),))
                others = PairCrops(self._models, complementary_pairs(*arguments), at_size)
            batches = self.draw(others)
            self.learn_designs(batches)
            self.learn_textures(batches)
            if others is not None:
                self.learn_contrast(batches, contrast)
            if on_learn is not None:
                on_learn(step + 1, total)
        self._measure()

    def notes(self) -> dict[str, object]:
        """Return settings and errors, as JSON values."""
        recipe = self._recipe
        settings = {**asdict(recipe), "layers": len(self.style), "sides": list(recipe.sides)}
        return {**settings, **self._measured, "seed": self._seed, "references": 1}

    def draw(self, others: PairCrops | None) -> list[PairBatch]:
        """Draw crops of the reference, and one crop of other things if there are any."""
        batches = [self.crops.draw(self._generator, self._recipe.batch, NOISIEST)]
        if others is not None:
            batches.append(others.draw(self._generator, 1, NOISIEST))
        return batches

    def learn_designs(self, batches: list[PairBatch]) -> None:
        """Take a step of the content adapter."""
        with torch.enable_grad(), self._added(self.content):
            designs = [(batch.designs, batch) for batch in batches]
            self._update(0, self._errors(designs, self._silent))

    def learn_textures(self, batches: list[PairBatch]) -> None:
        """Take a step of the style adapter beside the content adapter."""
        with torch.enable_grad(), self._added(_frozen(self.content), self.style):
            textured = [(batch.textured, batch) for batch in batches]
            self._update(1, self._errors(textured, self._told))

    def learn_contrast(self, batches: list[PairBatch], weight: float) -> None:
        """Take a step of the style adapter along the contrast."""
        with torch.enable_grad():
            self._update(1, weight * self.contrast_of(batches))

    def contrast_of(self, batches: list[PairBatch]) -> Tensor:
        """Return the contrast () of the adapters' effects on one design of each of two batches."""
        designs = torch.cat([batch.designs[:1] for batch in batches])
        noise = torch.cat([batch.noise[:1] for batch in batches])
        timesteps = batches[0].timesteps[:1].expand(len(batches))
        noisy = self._models.scheduler.add_noise(designs, noise, timesteps)
        content = _frozen(self.content)
        with torch.no_grad():
            plain = self._models.denoise(noisy, timesteps, self._silent).float()
            with self._added(content):
                shown = self._models.denoise(noisy, timesteps, self._silent).float()
        with self._added(content, self.style):
            styled = self._models.denoise(noisy, timesteps, self._told).float()
        return contrast_loss(*(styled - shown), *(shown - plain))

    def _errors(self, parts: list[tuple[Tensor, PairBatch]], told: Condition) -> Tensor:
        """Return the error on clean latents of batches, where those after the first count less."""
        errors = [
            opaque_error(self._models, latents, batch.opacity, batch.noise, batch.timesteps, told)
            for latents, batch in parts
        ]
        return errors[0] + _OTHERS * sum(errors[1:])

    def _update(self, which: int, loss: Tensor) -> None:
        self._optimizers[which].zero_grad(set_to_none=True)
        loss.backward()
        self._optimizers[which].step()

    def _measure(self) -> None:
        """Measure the error on the reference, given its design, without the style and with it."""
        probe = Probe(self._models, self.crops.textured, self._recipe, self._seed)
        with self._added(self.content):
            self._measured["error_before"] = probe.error()
        with self._added(self.content, self.style):
            self._measured["error_after"] = probe.error()

    def _added(self, *factors: Mapping[str, Factors]) -> AbstractContextManager[None]:
        one = torch.ones(1, device=self._models.device)
        return branches(self._models.unet, *[Branch(each, one) for each in factors])


def _frozen(factors: Mapping[str, Factors]) -> dict[str, Factors]:
    """Return factors that get no gradient; their values stay those under training."""
    return {name: (down.detach(), up.detach()) for name, (down, up) in factors.items()}
