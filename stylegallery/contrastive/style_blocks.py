"""The blocks of a UNet that carry style: those whose attention sees texture most."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegallery.errors import BadReferences, UnsupportedModel
from stylegallery.models.diffusion import Models
from stylegallery.models.inversion import ddim_inversion

_SHARE = 0.36  # 4 of SDXL's 11 blocks, 6 of the 16 of SD 1.x
_STEPS = 10
_SAME = 1 - 1e-5
_PUBLISHED = (
    "down_blocks.1.attentions.1",
    "down_blocks.2.attentions.0",
    "up_blocks.0.attentions.1",
    "up_blocks.0.attentions.2",
)
"""The style blocks of SDXL (contrastive LoRA, arXiv 2509.18948)."""

Summary = Callable[[Tensor], Tensor]
"""Maps the output (B, N, C) of a self-attention to what is kept of it."""


def attention_blocks(unet: Any) -> list[str]:
    """Return the names of all transformer blocks of a UNet, such as `up_blocks.1.attentions.0`."""
    return list(dict.fromkeys(map(_block_of, _self_attentions(unet))))


def chosen_blocks(models: Models, wanted: str, similarities: Mapping[str, float]) -> list[str]:
    """Return the style blocks: the user's, SDXL's published ones, or the least similar.

    Args:
        models: The diffusion model.
        wanted: Names with commas between them; empty chooses.
        similarities: Of all blocks, from :func:`block_similarities`.

    Raises:
        BadReferences: reference and design look the same to all blocks.
        UnsupportedModel: the model has no block of a name.
    """
    if min(similarities.values()) > _SAME:
        raise BadReferences(
            "the model sees no difference between the reference and its design; use a reference "
            "with visible stitches, threads or strokes, or give a flat design of it."
        )
    if names := [name.strip() for name in wanted.split(",") if name.strip()]:
        if unknown := [name for name in names if name not in similarities]:
            raise UnsupportedModel(
                f"style_blocks: the UNet has no block {unknown[0]!r}; take names from "
                f"{', '.join(similarities)}."
            )
        return names
    if models.null_pooled is not None and set(_PUBLISHED) <= set(similarities):
        return list(_PUBLISHED)
    return least_similar(similarities)


def least_similar(similarities: Mapping[str, float]) -> list[str]:
    """Return the 36 % of the blocks with the lowest values, in their order."""
    count = math.ceil(_SHARE * len(similarities))
    kept = set(sorted(similarities, key=lambda name: similarities[name])[:count])
    return [name for name in similarities if name in kept]


@torch.no_grad()
def block_similarities(models: Models, textured: Tensor, design: Tensor) -> dict[str, float]:
    """Return how alike two latents of one size are to each block, from -1 to 1.

    The mean cosine, over cells, layers and steps, of the self-attentions' outputs after their
    output projection, in the less noisy half of an inversion, as in contrastive LoRA
    (arXiv 2509.18948).

    Args:
        models: The diffusion model.
        textured: (1, C, h, w) clean latent of a picture with texture.
        design: (1, C, h, w) clean latent of its design; the two may be exchanged.
    """
    kept = _late_outputs(models, torch.cat([textured, design]), _pair_cosine)
    return {name: float(torch.stack(values).mean()) for name, values in kept.items()}


@torch.no_grad()
def block_features(models: Models, latent: Tensor, blocks: Sequence[str]) -> Tensor:
    """Return the mean outputs of the self-attentions of blocks (D,), to compare pictures.

    Args:
        models: The diffusion model.
        latent: (1, C, h, w) clean latent.
        blocks: Names of blocks.
    """
    kept = _late_outputs(models, latent, _cell_mean)
    return torch.cat([value for name in blocks for value in kept[name]])


def layers_of_blocks(layers: Sequence[str], blocks: Sequence[str]) -> tuple[str, ...]:
    """Return the layers in style blocks, or in the residual block that feeds each.

    A model that learns little by its attentions alone needs the convolutions too.
    """
    inside = tuple(
        f"{name}." for block in blocks for name in (block, block.replace("attentions", "resnets"))
    )
    return tuple(name for name in layers if name.startswith(inside))


def _self_attentions(unet: Any) -> list[str]:
    return [name for name, _ in unet.named_modules() if name.endswith(".attn1")]


def _block_of(layer: str) -> str:
    return layer.partition(".transformer_blocks.")[0]


def _pair_cosine(output: Tensor) -> Tensor:
    return F.cosine_similarity(output[0], output[1], dim=-1).mean()


def _cell_mean(output: Tensor) -> Tensor:
    return F.normalize(output.mean(dim=(0, 1)), dim=0)


def _late_outputs(models: Models, latents: Tensor, summary: Summary) -> dict[str, list[Tensor]]:
    """Return summaries of all self-attentions' outputs in the less noisy half of an inversion.

    Outputs are summarized at once, because those of all layers and steps would fill the memory.

    Args:
        models: The diffusion model.
        latents: (B, C, h, w) clean latents.
        summary: What is kept of an output.
    """
    kept: dict[str, list[Tensor]] = {name: [] for name in attention_blocks(models.unet)}

    def keep(block: str, _layer: Any, _inputs: Any, output: Tensor) -> None:
        kept[block].append(summary(output.float()))

    hooks = [
        models.unet.get_submodule(f"{name}.to_out.0").register_forward_hook(
            partial(keep, _block_of(name))
        )
        for name in _self_attentions(models.unet)
    ]
    try:
        for _ in islice(ddim_inversion(models, latents, _STEPS), _STEPS // 2):
            pass
    finally:
        for hook in hooks:
            hook.remove()
    return kept
