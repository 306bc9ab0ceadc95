"""How a style is learnt on a model: what the parameters leave open, the model decides."""

from dataclasses import dataclass

from schemas.params import StyleParams
from stylegallery.adapters.layers import layer_names, text_is_empty
from stylegallery.models.diffusion import Models


@dataclass(frozen=True)
class Recipe:
    """Settings of learning.

    Attributes:
        rank: Rank of the low-rank changes.
        layers: Names of the layers that change.
        prompt: Words that the references are learnt with.
        steps: Training steps.
        rate: Learning rate.
        strength: Factor that the learnt change is stored with, so that scale 1 is a good one.
        sides: Short sides in pixels at which references are seen.
        cells: Side of the square crops in latent cells; 0 sees whole images.
        batch: Crops a step.
    """

    rank: int
    layers: tuple[str, ...]
    prompt: str
    steps: int
    rate: float
    strength: float
    sides: tuple[int, ...]
    cells: int
    batch: int


_SIZES = (1.0, 1.25, 1.5)  # of the working size
_SHARE = 0.75  # of the model's training size: side of a crop


def recipe_for(models: Models, params: StyleParams) -> Recipe:
    """Return the settings of learning for a model.

    A model without text, such as the embedded one, has settings that were measured: crops of 3/4
    of its training size out of images at 1, 1.25 and 1.5 times the working size, so strokes are
    learnt at the size that they have in results. With text, these are the settings published for
    Stable Diffusion (DiffStyler) and SDXL (EmoLoRA): whole images, one a step.
    """
    large = models.null_pooled is not None
    small = text_is_empty(models) and not large  # SDXL's empty prompt is zero too
    rank, steps, rate = (16, 100, 2e-3) if small else (32, 400, 1e-4) if large else (16, 200, 2e-4)
    chosen, prompt = params.adapter, params.prompts.style_prompt
    side = params.image_size or models.native_size
    everything = chosen.adapter_layers == "all" or (small and chosen.adapter_layers == "auto")
    cells = round(_SHARE * models.native_size / models.vae_factor)
    return Recipe(
        rank=chosen.adapter_rank or rank,
        layers=tuple(layer_names(models, everything, prompt)),
        prompt=prompt,
        steps=chosen.adapter_steps or steps,
        rate=chosen.adapter_rate or rate,
        strength=2.0 if small else 1.0,
        sides=tuple(round(side * size) for size in _SIZES) if small else (side,),
        cells=cells if small else 0,
        batch=4 if small else 1,
    )
