"""Prompts as the UNet takes them: embeddings, and conditions with classifier-free guidance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class PromptEmbedding:
    """Embeddings of B prompts.

    Attributes:
        embedding: (B, n, d) input of the cross-attentions.
        pooled: (B, p) pooled embedding; SDXL only.
    """

    embedding: Tensor
    pooled: Tensor | None = None

    def to(self, device: torch.device, dtype: torch.dtype) -> "PromptEmbedding":
        """Return the same embeddings on a device."""
        pooled = None if self.pooled is None else self.pooled.to(device, dtype)
        return PromptEmbedding(self.embedding.to(device, dtype), pooled)

    def take(self, rows: Tensor) -> "PromptEmbedding":
        """Return the prompts of some rows (n,) int64, in their order."""
        pooled = None if self.pooled is None else self.pooled[rows]
        return PromptEmbedding(self.embedding[rows], pooled)

    def rows(self, count: int) -> "PromptEmbedding":
        """Return `count` rows, a multiple of B: each prompt for as many rows in turn."""
        pooled = None if self.pooled is None else _rows(self.pooled, count)
        return PromptEmbedding(_rows(self.embedding, count), pooled)


def _rows(tensor: Tensor, count: int) -> Tensor:
    if len(tensor) == 1:
        return tensor.expand(count, *tensor.shape[1:])  # without a copy
    return tensor.repeat_interleave(count // len(tensor), dim=0)


def joined(parts: Sequence[PromptEmbedding]) -> PromptEmbedding:
    """Return embeddings below each other, also where their lengths n differ.

    The tokens of each are repeated up to a common length, which changes no attention: SDXL's
    empty prompt is one token, and other prompts are 77.
    """
    length = math.lcm(*(part.embedding.shape[1] for part in parts))
    embeddings = [part.embedding.repeat(1, length // part.embedding.shape[1], 1) for part in parts]
    pooled = [part.pooled for part in parts if part.pooled is not None]
    return PromptEmbedding(torch.cat(embeddings), torch.cat(pooled) if pooled else None)


@dataclass(frozen=True, eq=False)
class Condition:
    """What predictions of the UNet follow beside the latent.

    Attributes:
        prompt: Embeddings of the text; see :meth:`PromptEmbedding.rows`.
        negative: Embeddings of what predictions move away from, for guidance above 1.
        guidance: Scale of classifier-free guidance (arXiv 2207.12598); 1 is the prompt alone.
    """

    prompt: PromptEmbedding
    negative: PromptEmbedding | None = None
    guidance: float = 1.0

    @property
    def unguided(self) -> "Condition":
        """The prompt alone, for features of layers."""
        return replace(self, negative=None, guidance=1.0)

    def rows(self, count: int) -> PromptEmbedding:
        """Return the embeddings for `count` latents, and then those of the negative prompt."""
        own = self.prompt.rows(count)
        return own if self.negative is None else joined([own, self.negative.rows(count)])

    def guided(self, predictions: Tensor) -> Tensor:
        """Return the predictions (B, C, h, w) of the UNet's for :meth:`rows`."""
        return predictions if self.negative is None else guided(predictions, self.guidance)


def guided(predictions: Tensor, guidance: float) -> Tensor:
    """Return (B, C, h, w) from 2B predictions: with a prompt, then with the negative one."""
    toward, away = predictions.float().chunk(2)
    return away + guidance * (toward - away)
