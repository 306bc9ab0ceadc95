"""Names of a UNet's layers in the original LDM and sgm code.

Single-file checkpoints and SDXL LoRAs from kohya's trainer use them.
"""

import re

_FIXED = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_BLOCK = re.compile(
    r"(?P<side>down|up)_blocks\.(?P<block>\d+)\.(?P<kind>\w+?)\.(?P<index>\d+)\.(?P<rest>.+)"
)
_MIDDLE = re.compile(r"mid_block\.(?P<kind>\w+?)\.(?P<index>\d+)\.(?P<rest>.+)")


def ldm_name(name: str, layers_per_block: int, attention_blocks: frozenset[int]) -> str:
    """Return the original name of a layer of a diffusers UNet.

    Args:
        name: Name in diffusers, such as `up_blocks.1.attentions.0.proj_in`.
        layers_per_block: From the UNet's config.
        attention_blocks: Numbers of the up blocks with attention; their upsampler is the third
            part of its output block, else the second.
    """
    if name in _FIXED:
        return _FIXED[name]
    if match := _MIDDLE.fullmatch(name):
        place = 2 * int(match["index"]) if match["kind"] == "resnets" else 1
        return f"middle_block.{place}.{_rest(match['kind'], match['rest'])}"
    if not (match := _BLOCK.fullmatch(name)):
        return name
    block, index, kind = int(match["block"]), int(match["index"]), match["kind"]
    first = block * (layers_per_block + 1)
    rest = _rest(kind, match["rest"])
    if kind == "downsamplers":
        return f"input_blocks.{first + layers_per_block + 1}.0.{rest.replace('conv', 'op')}"
    if kind == "upsamplers":
        third = 2 if block in attention_blocks else 1
        return f"output_blocks.{first + layers_per_block}.{third}.{rest}"
    side, offset = ("input", 1) if match["side"] == "down" else ("output", 0)
    return f"{side}_blocks.{first + offset + index}.{int(kind == 'attentions')}.{rest}"


def _rest(kind: str, rest: str) -> str:
    return _RESNET.get(rest, rest) if kind == "resnets" else rest
