"""Command-line options of the training script."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """One training run, see :func:`parse` for the meaning of each field."""

    images: tuple[Path, ...]
    paintings: tuple[Path, ...]
    credit: tuple[str, ...]
    out: Path
    state: Path
    steps: int
    minutes: float
    decoder_steps: int
    decoder_minutes: float
    batch: int
    side: int
    small_share: float
    channels: int
    widths: tuple[int, ...]
    rate: float
    decoder_rate: float
    ema: float
    patterns: float
    held_out: float
    drop_minutes: float
    seed: int
    device: str
    threads: int
    phases: tuple[str, ...]
    sheet: tuple[int, ...]
    sheet_steps: int
    resume: bool
    stop_after: int


def parse(arguments: list[str] | None = None) -> Options:
    """Read options from ``arguments`` or the command line."""
    names = vars(_parser().parse_args(arguments))
    names["state"] = names["state"] or names["out"].with_name(names["out"].name + ".state")
    lists = {key: tuple(value) for key, value in names.items() if isinstance(value, list)}
    return Options(**{**names, **lists})


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m stylegallery.embedded.train",
        description="Train the embedded latent diffusion model: pictures in, diffusers folder out.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = p.add_argument
    add("--images", type=Path, nargs="+", default=[], help="folders of photos")
    add("--paintings", type=Path, nargs="+", default=[], help="folders of paintings")
    add("--credit", nargs="+", default=[], help="lines for the card: data set, licence")
    add("--out", type=Path, required=True, help="folder of the finished model")
    add("--state", type=Path, default=None, help="checkpoints and losses (default OUT.state)")
    add("--phases", nargs="+", default=["unet", "decoder", "card"], help="what to run, in order",
        choices=["unet", "decoder", "drop", "card"])  # fmt: skip
    add("--resume", action="store_true", help="go on from the checkpoints in --state")
    add("--stop-after", type=int, default=0, help="pause each phase after N steps, 0 = do not")
    add("--seed", type=int, default=0)
    add("--device", default="cpu", help="cpu or cuda")
    add("--threads", type=int, default=0, help="CPU threads, 0 = torch's choice")
    _add_model_options(p)
    return p


def _add_model_options(p: argparse.ArgumentParser) -> None:
    add = p.add_argument
    add("--steps", type=int, default=3000, help="UNet steps")
    add("--minutes", type=float, default=90.0, help="UNet minutes at most")
    add("--decoder-steps", type=int, default=3000, help="decoder steps")
    add("--decoder-minutes", type=float, default=20.0, help="decoder minutes at most")
    add("--batch", type=int, default=12, help="crops a UNet step")
    add("--side", type=int, default=256, help="side of a crop in pixels, a multiple of 64")
    add("--small-share", type=float, default=0.5, help="share of steps at 3/4 of the side: faster")
    add("--channels", type=int, default=24, help="latent channels, at most 24")
    add("--widths", type=int, nargs=4, default=[64, 96, 128, 128], help="UNet channels")
    add("--rate", type=float, default=3e-4, help="peak learning rate of the UNet")
    add("--decoder-rate", type=float, default=1e-3, help="peak learning rate of the decoder")
    add("--ema", type=float, default=0.998, help="decay of the averaged weights a step")
    add("--patterns", type=float, default=0.15, help="share of drawn patterns in a batch")
    add("--held-out", type=float, default=0.05, help="share of files kept for the figures")
    add("--drop-minutes", type=float, default=5.0, help="minutes between checkpoints")
    add("--sheet", type=int, nargs=2, default=[4, 4], help="rows and columns of the contact sheet")
    add("--sheet-steps", type=int, default=60, help="steps of every picture on the contact sheet")
