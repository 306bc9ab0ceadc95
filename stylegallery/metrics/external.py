"""LPIPS and CSD: metrics of networks that cannot be shipped, from weight files of the user.

Weight files are read with `weights_only`: tensors are loaded, never objects.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from schemas.text import first_line
from stylegallery.errors import ModelNotFound
from stylegallery.images.codec import to_short_side
from stylegallery.models.hub import hub_file

_STAGES = ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1))
"""AlexNet's convolutions: layer index, stride, padding."""
_POOLED_BEFORE = (3, 6)
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_CLIP_SIDE = 224
_BLOCK_NAMES = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}


class Lpips:
    """LPIPS on AlexNet (Zhang et al., arXiv 1801.03924, version 0.1)."""

    def __init__(self, weights: str | Path) -> None:
        """Load AlexNet, and the linear heads that ship with torchmetrics.

        Args:
            weights: torchvision's weights of AlexNet, `alexnet-owt-7be5be79.pth`.

        Raises:
            ModelNotFound: the file is missing or not AlexNet.
        """
        import torchmetrics.functional.image as package

        found = read_weights(weights, "AlexNet", "torchvision's alexnet-owt-7be5be79.pth")
        heads_file = Path(str(package.__file__)).parent / "lpips_models" / "alex.pth"
        heads = torch.load(heads_file, weights_only=True, map_location="cpu")
        try:
            self._convolutions = [
                (found[f"features.{n}.weight"], found[f"features.{n}.bias"]) for n, *_ in _STAGES
            ]
        except KeyError as error:
            raise ModelNotFound(f"{weights} holds no AlexNet: {error} is missing.") from error
        self._heads = [heads[f"lin{n}.model.1.weight"] for n in range(len(_STAGES))]
        self._shift = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
        self._scale = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)

    @torch.no_grad()
    def __call__(self, image: Tensor, content: Tensor) -> float:
        """Return the distance of two pictures (1, 3, H, W) in [0, 1]; 0 if they are equal."""
        total = 0.0
        pairs = zip(self._depths(image), self._depths(content), self._heads, strict=True)
        for one, two, head in pairs:
            difference = (_unit(one) - _unit(two)).square()
            total += float(F.conv2d(difference, head).mean())
        return total

    def _depths(self, pixels: Tensor) -> list[Tensor]:
        hidden = (pixels * 2 - 1 - self._shift) / self._scale
        depths = []
        for (number, stride, padding), weights in zip(_STAGES, self._convolutions, strict=True):
            if number in _POOLED_BEFORE:
                hidden = F.max_pool2d(hidden, 3, 2)
            hidden = F.relu(F.conv2d(hidden, *weights, stride=stride, padding=padding))
            depths.append(hidden)
        return depths


class StyleDescriptors:
    """Contrastive style descriptors (CSD, Somepalli et al., arXiv 2404.01292): ViT-L/14 of CLIP."""

    def __init__(self, weights: str | Path) -> None:
        """Load the network.

        Args:
            weights: The authors' checkpoint, in the layout of OpenAI's CLIP.

        Raises:
            ModelNotFound: the file is missing or not CSD.
        """
        from transformers import CLIPVisionConfig, CLIPVisionModel

        found = read_weights(weights, "CSD", "the authors' checkpoint.pth")
        found = {name.removeprefix("module."): tensor for name, tensor in found.items()}
        try:
            self._style = found["last_layer_style"]
            width = self._style.shape[0]
            layers = 1 + max(int(n.split(".")[3]) for n in found if ".resblocks." in n)
            patch = found["backbone.conv1.weight"].shape[-1]
            config = CLIPVisionConfig(
                hidden_size=width,
                intermediate_size=4 * width,
                num_hidden_layers=layers,
                num_attention_heads=max(1, width // 64),
                patch_size=patch,
                image_size=_CLIP_SIDE,
                hidden_act="quick_gelu",
            )
            self._net: nn.Module = CLIPVisionModel(config)
            _load(self._net, clip_state(found, layers))
        except (KeyError, ValueError, IndexError) as error:
            raise ModelNotFound(f"{weights} holds no CSD network ({error}).") from error
        self._net.eval().requires_grad_(False)
        self._mean = torch.tensor(_CLIP_MEAN).view(1, 3, 1, 1)
        self._std = torch.tensor(_CLIP_STD).view(1, 3, 1, 1)

    @torch.no_grad()
    def describe(self, pixels: Tensor) -> Tensor:
        """Return the (1, D) unit descriptor of the center square of (1, 3, H, W) in [0, 1]."""
        whole = to_short_side(pixels, _CLIP_SIDE)
        top, left = ((length - _CLIP_SIDE) // 2 for length in whole.shape[-2:])
        square = whole[..., top : top + _CLIP_SIDE, left : left + _CLIP_SIDE]
        pooled: Tensor = self._net(pixel_values=(square - self._mean) / self._std).pooler_output
        return F.normalize(pooled @ self._style, dim=1)


def clip_state(found: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Convert the weights of CLIP's vision model to the names of transformers.

    Args:
        found: Weights under OpenAI's names, prefixed by `backbone.`.
        layers: Number of transformer blocks.

    Raises:
        KeyError: a weight is missing.
    """
    state = {
        "embeddings.class_embedding": found["backbone.class_embedding"],
        "embeddings.patch_embedding.weight": found["backbone.conv1.weight"],
        "embeddings.position_embedding.weight": found["backbone.positional_embedding"],
    }
    for theirs, ours in (("ln_pre", "pre_layrnorm"), ("ln_post", "post_layernorm")):
        for kind in ("weight", "bias"):
            state[f"{ours}.{kind}"] = found[f"backbone.{theirs}.{kind}"]
    for layer in range(layers):
        old, new = f"backbone.transformer.resblocks.{layer}", f"encoder.layers.{layer}"
        for kind in ("weight", "bias"):
            parts = found[f"{old}.attn.in_proj_{kind}"].chunk(3)
            for name, part in zip(("q_proj", "k_proj", "v_proj"), parts, strict=True):
                state[f"{new}.self_attn.{name}.{kind}"] = part
            for theirs, ours in _BLOCK_NAMES.items():
                state[f"{new}.{ours}.{kind}"] = found[f"{old}.{theirs}.{kind}"]
    return state


def _load(net: nn.Module, state: dict[str, Tensor]) -> None:
    """Load weights; the name prefix depends on the version of transformers."""
    own = net.state_dict()
    prefix = next(iter(own)).partition("embeddings.")[0]
    named = {f"{prefix}{name}": tensor for name, tensor in state.items()}
    missing = {name for name in own if name not in named and not name.endswith("position_ids")}
    if missing:
        raise KeyError(sorted(missing)[0])
    net.load_state_dict(named, strict=False)


def read_weights(weights: str | Path, what: str, which: str) -> dict[str, Tensor]:
    """Read the tensors of a weight file, by name.

    Args:
        weights: A local file, or `OWNER/REPO/FILE` on the Hugging Face hub.
        what: Name of the network in messages.
        which: Name of the published file in messages.

    Raises:
        ModelNotFound: the file is missing, or holds more than tensors.
    """
    try:
        place = Path(weights) if Path(weights).is_file() else hub_file(str(weights))
    except (OSError, ValueError) as error:
        raise ModelNotFound(
            f"{weights} is no file; give {which} for {what}, here or as OWNER/REPO/FILE of the "
            "hub, downloaded once with `hf download`."
        ) from error
    try:
        found: Any = torch.load(place, weights_only=True, map_location="cpu")
    except Exception as error:  # unpickling raises any exception on broken data
        reason = first_line(error)[:200]
        raise ModelNotFound(f"{weights} cannot be read as weights ({reason}).") from error
    found = found.get("model_state_dict", found) if isinstance(found, dict) else {}
    return {name: value.float() for name, value in found.items() if isinstance(value, Tensor)}


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)
