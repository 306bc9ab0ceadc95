"""Latents of many augmented pictures, encoded once, from which the UNet's batches are cut."""

from dataclasses import dataclass

import torch
from diffusers import AutoencoderDC
from safetensors.torch import load_file, save_file
from torch import Tensor

from stylegallery.embedded.autoencoder import encode
from stylegallery.embedded.data import Mixture
from stylegallery.embedded.options import Options
from stylegallery.embedded.runs import Report, prefetch
from stylegallery.lite0 import lite0_features, load_lite0

FILE = "latents.safetensors"
FEATURE_BLOCK, FEATURE_CELLS = 10, 2  # EfficientNet-Lite0 at stride 16: two latent cells a side
CHUNK = 8
BANK_STEP = 3 * 10**8  # its pictures lie apart from those of the other phases


@dataclass(frozen=True)
class LatentBank:
    """Clean latents and what EfficientNet-Lite0 sees in the same pictures.

    Args:
        latents: (N, C, h, w) float16.
        features: (N, 112, h / 2, w / 2) float16, unit length over channels.
    """

    latents: Tensor
    features: Tensor

    def cut(self, generator: torch.Generator, count: int, cells: int) -> tuple[Tensor, Tensor]:
        """Return windows of `cells` x `cells` (even) latent cells of `count` random pictures.

        Returns:
            Latents (count, C, cells, cells) and features (count, 112, cells / 2, cells / 2).
        """
        chosen = torch.randint(len(self.latents), (count,), generator=generator)
        room = (self.latents.shape[-1] - cells) // FEATURE_CELLS + 1
        places = torch.randint(room, (count, 2), generator=generator)
        latents, features = [], []
        for index, (top, left) in zip(chosen.tolist(), places.tolist(), strict=True):
            half = cells // FEATURE_CELLS
            features.append(self.features[index, :, top : top + half, left : left + half])
            row, column = top * FEATURE_CELLS, left * FEATURE_CELLS
            latents.append(self.latents[index, :, row : row + cells, column : column + cells])
        return torch.stack(latents).float(), torch.stack(features).float()


def latent_bank(mixture: Mixture, vae: AutoencoderDC, options: Options, say: Report) -> LatentBank:
    """Return the run's bank: read from ``--state`` on resuming, else encoded and stored there."""
    path = options.state / FILE
    if options.resume and path.exists():
        return LatentBank(**load_file(path))
    bank = encode_pictures(mixture, vae, options, say)
    save_file({"latents": bank.latents, "features": bank.features}, path)
    return bank


@torch.no_grad()
def encode_pictures(
    mixture: Mixture, vae: AutoencoderDC, options: Options, say: Report
) -> LatentBank:
    """Draw ``options.crops`` pictures and encode them, on ``options.device`` in bfloat16."""
    device, chunks = options.device, -(-options.crops // CHUNK)
    vae, net = vae.to(device).eval(), load_lite0(device)
    latents, features = [], []
    batches = prefetch(
        lambda step: mixture.batch(options.seed, BANK_STEP + step, CHUNK, options.side), 0
    )
    for index in range(chunks):
        pixels = (next(batches).to(device).float() / 255).contiguous(
            memory_format=torch.channels_last
        )
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            latents.append(encode(vae, pixels).half().cpu())
            seen = lite0_features(net, pixels, (FEATURE_BLOCK,))[0].float()
        features.append(torch.nn.functional.normalize(seen, dim=1).half().cpu())
        if index % 50 == 49:
            say(f"latents of {(index + 1) * CHUNK} pictures")
    return LatentBank(
        torch.cat(latents)[: options.crops].contiguous(),
        torch.cat(features)[: options.crops].contiguous(),
    )
