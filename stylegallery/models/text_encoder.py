"""Encode prompts with a model's text encoders, as diffusers' pipelines do."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from schemas.text import first_line, short_repr
from stylegallery.errors import UnsupportedModel
from stylegallery.models.availability import no_text_advice
from stylegallery.models.prompts import PromptEmbedding

logger = logging.getLogger(__name__)

LoadText = Callable[[Any, str], Any]
"""Loads a text encoder, given its class and subfolder."""

_UNUSABLE = (OSError, ValueError, RuntimeError, KeyError, AttributeError, TypeError)
"""What transformers and diffusers raise for missing or wrong files."""


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """The text encoders and tokenizers of a model, which are loaded for each call.

    Attributes:
        place: Folder or hub id with the tokenizers.
        options: Options of the tokenizers' `from_pretrained`.
        load: Loads text encoders.
        sdxl: Whether there are two encoders.
    """

    place: str | Path
    options: dict[str, Any]
    load: LoadText
    sdxl: bool

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> PromptEmbedding:
        """Return the embeddings of prompts, float32 on the CPU.

        SDXL takes the penultimate hidden states of both encoders, side by side; the second gives
        the pooled embedding.

        Raises:
            OSError: a text encoder or tokenizer is missing.
            ValueError: a text encoder or tokenizer is invalid.
        """
        from transformers import CLIPTextModel, CLIPTextModelWithProjection

        first = self.load(CLIPTextModel, "text_encoder").float().eval()
        tokens = self._tokens("tokenizer", first, prompts)
        if not self.sdxl:
            return PromptEmbedding(first(tokens).last_hidden_state)
        left = first(tokens, output_hidden_states=True).hidden_states[-2]
        second = self.load(CLIPTextModelWithProjection, "text_encoder_2").float().eval()
        tokens = self._tokens("tokenizer_2", second, prompts)
        right = second(tokens, output_hidden_states=True)
        return PromptEmbedding(torch.cat([left, right.hidden_states[-2]], -1), right.text_embeds)

    def _tokens(self, subfolder: str, encoder: Any, prompts: Sequence[str]) -> Tensor:
        """Return the tokens (B, n) of prompts; what is longer than n is cut off."""
        from transformers import CLIPTokenizer

        tokenizer = CLIPTokenizer.from_pretrained(self.place, subfolder=subfolder, **self.options)
        length = int(encoder.config.max_position_embeddings)
        if len(tokenizer) <= len(tokenizer.all_special_tokens):  # made from nothing
            raise OSError(f"it lacks {subfolder}")
        if subfolder == "tokenizer":  # both of SDXL cut at the same word
            for prompt in prompts:
                _warn_if_cut(tokenizer, prompt, length)
        tokens: Tensor = tokenizer(
            list(prompts),
            padding="max_length",
            truncation=True,
            max_length=length,
            return_tensors="pt",
        ).input_ids
        return tokens


class Prompts:
    """Embeddings of an engine's prompts, each encoded once."""

    def __init__(
        self, encoder: TextEncoder, model: str, device: torch.device, dtype: torch.dtype
    ) -> None:
        """Use an encoder; `model` is the model's name in messages."""
        self._encoder, self._model, self._device, self._dtype = encoder, model, device, dtype
        self._known: dict[str, PromptEmbedding] = {}

    def encode(self, prompts: Sequence[str]) -> None:
        """Encode prompts that are new; the text encoders are loaded once for all of them.

        Raises:
            UnsupportedModel: the model has no text encoder.
        """
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._known]
        if not new:
            return
        try:
            found = self._encoder.encode(new)
        except _UNUSABLE as error:
            reason = first_line(error).rstrip(".")
            raise UnsupportedModel(no_text_advice(self._model, reason)) from error
        found = found.to(self._device, self._dtype)
        for place, prompt in enumerate(new):
            row = slice(place, place + 1)
            pooled = None if found.pooled is None else found.pooled[row]
            self._known[prompt] = PromptEmbedding(found.embedding[row], pooled)

    def embedding(self, prompt: str) -> PromptEmbedding:
        """Return the embedding of a prompt, one row.

        Raises:
            UnsupportedModel: the model has no text encoder.
        """
        self.encode([prompt])
        return self._known[prompt]


def _warn_if_cut(tokenizer: Any, prompt: str, length: int) -> None:
    """Warn about a prompt with more tokens than the text encoder takes."""
    words = prompt.split()
    for count, word in enumerate(words):
        begin = " ".join(words[: count + 1])
        if len(tokenizer(begin, verbose=False).input_ids) > length:
            logger.warning(
                "the prompt %s is cut off at its word %s: the model reads %d tokens; shorten it",
                short_repr(prompt),
                short_repr(word),
                length - 2,  # begin and end are tokens too
            )
            return
