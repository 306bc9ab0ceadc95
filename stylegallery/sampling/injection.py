"""Injection: rows of a UNet call take features of other rows (arXiv 2211.12572, sec. 4)."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from stylegallery.errors import UnsupportedModel
from stylegallery.models.attention import attend, record_attention


@contextmanager
def injected(unet: Any, sources: Tensor, features: bool, attention: float) -> Iterator[None]:
    """Let rows take features of other rows in every UNet call inside the block.

    Adapters act in all of these layers: their values and output projections change what the
    injected layers give, and queries and keys as far as these are the row's own. The published
    code of DiffStyler turns its adapters off there. Enter this block inside that of the adapters,
    so that a source's features stay those of the plain model.

    Args:
        unet: The UNet.
        sources: (B,) int64, the row of the batch that each row takes features from; its own
            number for a row that keeps its features.
        features: Whether rows take the features of the decoder's residual block.
        attention: Share in [0, 1] of the sources' queries and keys in the decoder's
            self-attentions; the rest are the row's own.

    Raises:
        UnsupportedModel: the UNet has no such layers.
    """
    convolution, attentions = injection_layers(unet)
    with ExitStack() as stack:
        if features:
            hook = convolution.register_forward_hook(lambda _layer, _inputs, out: out[sources])
            stack.callback(hook.remove)
        if attention > 0:
            record = stack.enter_context(record_attention(unet, attentions))
            record.attend = partial(_attend, sources, attention)
        yield


def injection_layers(unet: Any) -> tuple[nn.Module, list[str]]:
    """Return the convolution whose output is injected, and the names of the self-attentions.

    The convolution is the last one of the second residual block of the first up block that has
    attention; the attentions are those of the up blocks but for the first. In SD 1.x and 2.x these
    are the layers of DiffStyler's code: up_blocks.1.resnets.1 and eight attentions. SDXL, for which
    nothing is published, has them one block earlier.

    Raises:
        UnsupportedModel: the UNet has no such layers.
    """
    holding = [n for n, block in enumerate(unet.up_blocks) if hasattr(block, "attentions")]
    blocks = [unet.up_blocks[number] for number in holding]
    if not blocks or len(blocks[0].resnets) < 2:
        raise UnsupportedModel(
            "the UNet has no up block with self-attention and two residual blocks, whose features "
            "diffstyler takes from the photo; use an SD 1.x, SD 2.x or SDXL model."
        )
    first = f"up_blocks.{holding[0]}.attentions.0."
    names = [
        name
        for number, block in zip(holding, blocks, strict=True)
        for part, _ in block.named_modules(prefix=f"up_blocks.{number}")
        if (name := part).endswith("attn1") and not name.startswith(first)
    ]
    return blocks[0].resnets[1].conv2, names


def _attend(
    sources: Tensor, share: float, _name: str, query: Tensor, key: Tensor, value: Tensor
) -> Tensor:
    """Attend with queries and keys that are partly those of the sources."""
    return attend(query.lerp(query[sources], share), key.lerp(key[sources], share), value)
