"""Command-line options of the training script."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

PHASES = ("vae", "unet", "decoder", "card")
FORMER_PHASES = {"drop": "export"}


@dataclass(frozen=True)
class Options:
    """Options of one training run; the help texts below describe each."""

    images: tuple[Path, ...]
    paintings: tuple[Path, ...]
    credit: tuple[str, ...]
    out: Path
    state: Path
    autoencoder: Path | None
    steps: int
    minutes: float
    vae_steps: int
    vae_minutes: float
    decoder_steps: int
    decoder_minutes: float
    batch: int
    side: int
    small_share: float
    swap_share: float
    crops: int
    vae_batch: int
    vae_side: int
    channels: int
    widths: tuple[int, ...]
    vae_widths: tuple[int, int, int]
    vae_blocks: tuple[int, int, int]
    rate: float
    vae_rate: float
    ema: float
    patterns: float
    held_out: float
    save_minutes: float
    seed: int
    device: str
    threads: int
    phases: tuple[str, ...]
    style_references: tuple[Path, ...]
    pairs: int
    sheet_rows: int
    sheet_steps: int
    resume: bool
    stop_after: int

    @property
    def resumed(self) -> "Options":
        """The same options with `resume` set, to load the results of earlier phases."""
        return replace(self, resume=True)


def parse(arguments: list[str] | None = None) -> Options:
    """Parse options from `arguments`, or from the command line."""
    names = vars(_parser().parse_args(arguments))
    names["state"] = names["state"] or names["out"].with_name(names["out"].name + ".state")
    lists = {key: tuple(value) for key, value in names.items() if isinstance(value, list)}
    return Options(**{**names, **lists})


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m stylegallery.training.train",
        description="Train the embedded latent diffusion model: pictures in, diffusers folder out.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = p.add_argument
    add("--images", type=Path, nargs="+", default=[], help="folders of photos")
    add("--paintings", type=Path, nargs="+", default=[], help="folders of paintings")
    add("--style-references", "--judge", type=Path, nargs="+", default=[],
        help="folders of references for the style metrics; never trained on")  # fmt: skip
    add("--credit", nargs="+", default=[], help="lines for the model card: data set, license")
    add("--out", type=Path, required=True, help="folder of the finished model")
    add("--state", type=Path, default=None, help="checkpoints and losses (default OUT.state)")
    add("--autoencoder", type=Path, default=None,
        help="finished model whose autoencoder is kept; omit phases vae and decoder")  # fmt: skip
    add("--phases", nargs="+", default=list(PHASES), choices=[*PHASES, "export"],
        type=lambda name: FORMER_PHASES.get(name, name),
        help="phases to run, in order; export: write the model without its card")  # fmt: skip
    add("--resume", action="store_true", help="resume from the checkpoints in --state")
    add(
        "--stop-after", type=int, default=0, help="pause each phase after N steps; 0 does not pause"
    )
    add("--seed", type=int, default=0)
    add("--device", default="cpu", help="cpu or cuda")
    add("--threads", type=int, default=0, help="CPU threads; 0 is torch's default")
    _add_model_options(p)
    return p


def _add_model_options(p: argparse.ArgumentParser) -> None:
    add = p.add_argument
    add("--vae-steps", type=int, default=12000, help="steps of encoder and decoder together")
    add("--vae-minutes", type=float, default=40.0, help="at most so many minutes of it")
    add("--decoder-steps", type=int, default=4000, help="steps of the decoder alone")
    add("--decoder-minutes", type=float, default=15.0, help="at most so many minutes of it")
    add("--vae-batch", type=int, default=16, help="crops per autoencoder step")
    add("--vae-side", type=int, default=64, help="side of a crop in pixels, a multiple of 8")
    add("--vae-rate", type=float, default=1e-3, help="peak learning rate of the autoencoder")
    add("--vae-widths", type=int, nargs=3, default=[64, 128, 256], help="autoencoder channels")
    add("--vae-blocks", type=int, nargs=3, default=[1, 2, 2], help="decoder blocks per stage")
    add("--channels", type=int, default=16, help="latent channels")
    add("--crops", type=int, default=6000, help="pictures in the latent bank")
    add("--steps", type=int, default=12000, help="UNet steps")
    add("--minutes", type=float, default=60.0, help="at most so many minutes of the UNet")
    add("--batch", type=int, default=8, help="pictures per UNet step, or windows of as many cells")
    add("--side", type=int, default=256, help="side of a picture in pixels, a multiple of 64")
    add("--small-share", type=float, default=0.8, help="share of UNet steps on small windows")
    add(
        "--swap-share",
        type=float,
        default=0.6,
        help="share of small-window steps that swap keys and values",
    )
    add("--widths", type=int, nargs=4, default=[64, 96, 128, 128], help="UNet channels")
    add("--rate", type=float, default=6e-4, help="peak learning rate of the UNet")
    add("--ema", type=float, default=0.999, help="decay per step of the averaged weights")
    add("--patterns", type=float, default=0.2, help="share of drawn patterns in a batch")
    add("--held-out", type=float, default=0.05, help="share of files held out for metrics")
    add("--save-minutes", type=float, default=5.0, help="minutes between checkpoints")
    add("--pairs", type=int, default=24, help="product-reference pairs for the style metrics")
    add("--sheet-rows", type=int, default=4, help="products on the contact sheet")
    add("--sheet-steps", type=int, default=40, help="sampling steps of the contact sheet")
