"""Latents and features of many augmented pictures, encoded once; UNet batches are cut from them."""

import os
from dataclasses import dataclass

import torch
from diffusers import AutoencoderDC
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from stylegallery.models.lite0 import lite0_features, load_lite0
from stylegallery.training.autoencoder import encode
from stylegallery.training.data import Mixture
from stylegallery.training.loop import Report
from stylegallery.training.options import Options

FILE = "latents.safetensors"
BLOCKS = (2, 4, 10)  # of EfficientNet-Lite0: strides 4, 8 and 16
FEATURE_CELLS = 2  # side, in latent cells, of one cell of the semantic features
CHUNK = 32
BANK_STEP = 3 * 10**8  # no other phase has steps from this number on


@dataclass(frozen=True)
class LatentBank:
    """Clean latents and EfficientNet-Lite0 features of the same pictures.

    Attributes:
        latents: (N, C, h, w) float16.
        semantic: (N, 112, h / 2, w / 2) float16 features at stride 16, unit length over channels.
        texture: (N, 136, h, w) float16 features at strides 4 (pixel-unshuffled) and 8; every
            channel has mean 0 and variance 1 over the bank.
    """

    latents: Tensor
    semantic: Tensor
    texture: Tensor

    def cut(
        self, generator: torch.Generator, count: int, cells: int, each: int = 1
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return random windows of random pictures.

        Args:
            generator: Chooses pictures and positions.
            count: Number of windows, a multiple of `each`.
            cells: Side of a window in latent cells, an even number.
            each: Windows per picture; they lie `count` / `each` apart in the batch.

        Returns:
            Latents (count, C, cells, cells), semantic features (count, 112, cells / 2, cells / 2)
            and texture features (count, 136, cells, cells), float32.
        """
        chosen = torch.randint(len(self.latents), (count // each,), generator=generator)
        room = (self.latents.shape[-1] - cells) // FEATURE_CELLS + 1
        places = FEATURE_CELLS * torch.randint(room, (count, 2), generator=generator)
        pictures = chosen.repeat(each)
        return (
            _windows(self.latents, pictures, places, cells),
            _windows(self.semantic, pictures, places // FEATURE_CELLS, cells // FEATURE_CELLS),
            _windows(self.texture, pictures, places, cells),
        )

    def to(self, device: str) -> "LatentBank":
        """Return the bank on `device`."""
        return LatentBank(*(part.to(device) for part in vars(self).values()))


def latent_bank(mixture: Mixture, vae: AutoencoderDC, options: Options, say: Report) -> LatentBank:
    """Return the bank of the run: loaded from `--state` when resuming, else encoded.

    Only a CPU run saves its bank; on a GPU, encoding takes less time than saving.
    """
    path = options.state / FILE
    if options.resume and path.exists():
        return LatentBank(**load_file(path))
    bank = encode_pictures(mixture, vae, options, say)
    if options.device == "cpu":
        save_file(vars(bank), path)
    return bank


@torch.no_grad()
def encode_pictures(
    mixture: Mixture, vae: AutoencoderDC, options: Options, say: Report
) -> LatentBank:
    """Draw `options.crops` pictures and encode them on `options.device` in bfloat16."""
    device, chunks = options.device, -(-options.crops // CHUNK)
    vae, net = vae.to(device).eval(), load_lite0(device)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    draws = _Draws(mixture, options.seed, options.side, chunks)
    workers = max(1, (os.cpu_count() or 1) - 1)
    for index, batch in enumerate(DataLoader(draws, batch_size=None, num_workers=workers)):
        pixels = (batch.to(device).float() / 255).contiguous(memory_format=torch.channels_last)
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            latents = encode(vae, pixels)
            strokes, cloth, semantic = lite0_features(net, pixels, BLOCKS)
        texture = torch.cat([F.pixel_unshuffle(strokes, FEATURE_CELLS), cloth], 1)
        semantic = F.normalize(semantic.float(), dim=1)
        parts.append((latents.half(), semantic.half(), texture.half()))
        if index % 50 == 49:
            say(f"latents of {(index + 1) * CHUNK} pictures")
    latents, semantic, texture = (
        torch.cat(part)[: options.crops].contiguous() for part in zip(*parts, strict=True)
    )
    for channel in texture.unbind(1):
        deviation, mean = torch.std_mean(channel.float())
        channel.sub_(mean).div_(deviation.clamp(min=1e-6))
    return LatentBank(latents, semantic, texture)


@dataclass(frozen=True)
class _Draws(Dataset[Tensor]):
    """Data set of the bank's pictures, `CHUNK` at a time, which worker processes draw."""

    mixture: Mixture
    seed: int
    side: int
    chunks: int

    def __len__(self) -> int:
        return self.chunks

    def __getitem__(self, index: int) -> Tensor:
        if index >= self.chunks:
            raise IndexError(index)
        return self.mixture.batch(self.seed, BANK_STEP + index, CHUNK, self.side)


def _windows(pictures: Tensor, chosen: Tensor, corners: Tensor, cells: int) -> Tensor:
    """Cut (count, C, cells, cells) float32 from (N, C, h, w) at (count, 2) top-left `corners`."""
    reach = torch.arange(cells)
    rows, columns = ((corner[:, None] + reach) for corner in corners.unbind(1))
    places = (chosen[:, None, None], rows[:, :, None], columns[:, None, :])
    where = tuple(place.to(pictures.device) for place in places)
    return pictures.permute(0, 2, 3, 1)[where].permute(0, 3, 1, 2).float()
