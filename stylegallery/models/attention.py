"""Record features of self-attention layers through diffusers' attention processors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from stylegallery.errors import UnsupportedModel

_STYLE_LAYERS = 6


@dataclass(frozen=True, eq=False)
class LayerRecord:
    """One self-attention layer during one UNet call.

    Attributes:
        query, key, value: (B, heads, N, d) after projection.
        output: (B, heads, N, d), the attention's result before the output projection.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor

    def item(self, index: int) -> "LayerRecord":
        """Return the features of one item of the batch, (1, heads, N, d) each."""
        parts = (self.query, self.key, self.value, self.output)
        return LayerRecord(*(part[index : index + 1] for part in parts))


Attend = Callable[[str, Tensor, Tensor, Tensor], Tensor]
"""Maps a layer's name, query, key and value (B, heads, N, d) to its output (B, heads, N, d)."""


@dataclass
class AttentionRecord:
    """Features of the recorded layers, and how these layers attend.

    Attributes:
        names: The recorded layers.
        layers: Layer name to its features in the last UNet call, in order of execution.
        attend: Replaces the recorded layers' own attention while it is set.
        stop_early: End UNet calls, by an exception, after the last recorded layer.
    """

    names: list[str]
    layers: dict[str, LayerRecord] = field(default_factory=dict)
    attend: Attend | None = None
    stop_early: bool = False


class _AllRecorded(Exception):
    """Ends a UNet call after the last recorded layer."""


class _RecordingProcessor:
    """Self-attention as diffusers computes it; keeps query, key, value and output."""

    def __init__(self, name: str, record: AttentionRecord) -> None:
        self._name, self._record = name, record

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        residual = hidden_states
        batch, tokens = hidden_states.shape[:2]
        query, key, value = (
            project(hidden_states).view(batch, tokens, attn.heads, -1).transpose(1, 2)
            for project in (attn.to_q, attn.to_k, attn.to_v)
        )
        if self._record.attend is None:
            output = F.scaled_dot_product_attention(query, key, value)
        else:
            output = self._record.attend(self._name, query, key, value)
        self._record.layers[self._name] = LayerRecord(query, key, value, output)
        if self._record.stop_early and len(self._record.layers) == len(self._record.names):
            raise _AllRecorded
        merged = output.transpose(1, 2).reshape(batch, tokens, -1)
        hidden_states = attn.to_out[1](attn.to_out[0](merged))
        if attn.residual_connection:
            hidden_states = hidden_states + residual
        scaled: Tensor = hidden_states / attn.rescale_output_factor
        return scaled


def style_layers(unet: Any) -> list[str]:
    """Return the names of the last six self-attentions, from the last two up blocks that have any.

    In SD 1.x and 2.x these are in up_blocks.2 and up_blocks.3, in SDXL, whose last up block has
    none, in up_blocks.1: the layers of attention distillation (arXiv 2502.20235) and StyleGallery
    (arXiv 2603.10354).

    Raises:
        UnsupportedModel: no up block has self-attention.
    """
    blocks = [
        [
            f"up_blocks.{number}.{name}"
            for name, _ in block.named_modules()
            if name.endswith("attn1")
        ]
        for number, block in enumerate(unet.up_blocks)
    ]
    holding = [names for names in blocks if names]
    if not holding:
        raise UnsupportedModel(
            "the UNet's up blocks have no self-attention, which carries the style; use an SD 1.x, "
            "SD 2.x or SDXL model."
        )
    return [name for names in holding[-2:] for name in names][-_STYLE_LAYERS:]


@contextmanager
def record_attention(unet: Any, layers: list[str]) -> Iterator[AttentionRecord]:
    """Record the named self-attentions of every UNet call made inside the block.

    The previous processors are restored at the end, also after an error. Recording changes the
    UNet's output by no more than rounding.

    Raises:
        UnsupportedModel: the UNet has no attention layer of one of the names.
    """
    record = AttentionRecord(layers)
    before = dict(unet.attn_processors)
    chosen = {f"{name}.processor" for name in layers}
    if unknown := sorted(chosen - before.keys()):
        raise UnsupportedModel(
            f"the UNet has no attention layer {unknown[0].removesuffix('.processor')!r}; take "
            f"names from style_layers, such as {style_layers(unet)[0]!r}."
        )
    unet.set_attn_processor(
        {
            key: _RecordingProcessor(key.removesuffix(".processor"), record)
            if key in chosen
            else processor
            for key, processor in before.items()
        }
    )
    try:
        yield record
    finally:
        unet.set_attn_processor(before)


def capture_layers(record: AttentionRecord, call: Callable[[], object]) -> dict[str, LayerRecord]:
    """Return the features of the recorded layers in a UNet call that ends after the last of them.

    The rest of the UNet affects neither features nor gradients. Skipping it saves a few percent
    of the work in SD 1.x, and the whole last up block in SDXL.

    Args:
        record: From :func:`record_attention`, inside whose block the call is made.
        call: Calls the UNet once; its result is not used.
    """
    record.layers.clear()
    record.stop_early = True
    try:
        with suppress(_AllRecorded):
            call()
    finally:
        record.stop_early = False
    return dict(record.layers)


def grid_size(tokens: int, latent: tuple[int, int]) -> tuple[int, int]:
    """Return the grid (h, w) of a layer with `tokens` tokens, for a latent of (h, w) cells.

    Each UNet level halves the sides and rounds up.

    Raises:
        ValueError: no level of the UNet has that many tokens.
    """
    height, width = latent
    while height * width > tokens:
        height, width = (height + 1) // 2, (width + 1) // 2
    if height * width != tokens:
        raise ValueError(f"{tokens} tokens fit no level of a latent of {latent} cells")
    return height, width


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return softmax attention (B, heads, N, d); a bias (M,) is added to the logits of M keys."""
    mask = None if bias is None else bias.to(query.dtype).expand(query.shape[-2], -1)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
