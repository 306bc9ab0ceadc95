"""Training pictures, held in memory as uint8, and batches of them.

A batch is a pure function of (seed, step), so a resumed run gets the batches of an unbroken one.
"""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from safetensors.torch import load_file, save_file

from stylegallery.images.suffixes import IMAGE_SUFFIXES
from stylegallery.training.autoencoder import PatchCode, fit
from stylegallery.training.options import Options
from stylegallery.training.patterns import draw

PhotoArray = NDArray[np.uint8]
# Without scikit-image's stereo pair, which is held out for a metric on the model card.
SKIMAGE = ("astronaut", "brick", "chelsea", "coffee", "color", "grass", "gravel", "ihc", "retina",
           "rocket", "hubble_deep_field")  # fmt: skip
FIT_PICTURES, FIT_STEP = 192, 10**9  # pictures and step of the fit; no other phase has this step


@dataclass(frozen=True)
class PictureSource:
    """Pictures of one kind, and how crops are drawn from them.

    Attributes:
        name: Name in logs and on the model card.
        pictures: (H, W, 3) uint8 each.
        weight: Share of a batch, relative to the other sources.
        zoom: Smallest and largest side of a crop, as a share of the picture's short side.
        jitter: Strength of color changes, 0 (none) to 1 (any hue).
    """

    name: str
    pictures: list[PhotoArray]
    weight: float
    zoom: tuple[float, float] = (0.5, 1.0)
    jitter: float = 0.2


@dataclass(frozen=True)
class Mixture:
    """All sources of training pictures.

    Attributes:
        sources: Sources of pictures.
        patterns: Share of drawn patterns in a batch, in [0, 1]; each batch draws new ones.
        full: Side of a crop, in pixels, to which `PictureSource.zoom` applies; smaller crops show a
            smaller part of a picture at the same scale.
        held_out: Pictures that are never trained on, by source name.
    """

    sources: list[PictureSource]
    patterns: float = 0.15
    full: int = 256
    held_out: dict[str, list[PhotoArray]] = field(default_factory=dict)

    def batch(self, seed: int, step: int, count: int, side: int) -> torch.Tensor:
        """Return a batch of random crops.

        Returns:
            (count, 3, side, side) uint8.
        """
        rows = [self._one(np.random.default_rng((seed, step, i)), side) for i in range(count)]
        return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).contiguous()

    def _one(self, rng: np.random.Generator, side: int) -> PhotoArray:
        if not self.sources or rng.random() < self.patterns:
            picture = draw(tuple(int(v) for v in rng.integers(0, 2**31, 2)), side + side // 8)
            return _augment(rng, picture, side, (0.6, 1.0), 0.3)
        share = side / self.full
        weights = np.array([s.weight for s in self.sources])
        source = self.sources[int(rng.choice(len(weights), p=weights / weights.sum()))]
        picture = source.pictures[int(rng.integers(len(source.pictures)))]
        zoom = (source.zoom[0] * share, source.zoom[1] * share)
        return _augment(rng, picture, side, zoom, source.jitter)


def build_mixture(options: Options) -> Mixture:
    """Load all training pictures; weights are photos 0.5, paintings 0.28, bundled photos 0.07."""
    sources, held_out = [], {}
    short = options.side * 25 // 16
    if options.images:
        train, test = load_folders(options.images, short, options.held_out)
        sources.append(PictureSource("photos", train, 0.5, (0.5, 1.0), 0.2))
        held_out["photos"] = test
    if options.paintings:
        train, test = load_folders(options.paintings, 2 * options.side, 2 * options.held_out)
        sources.append(PictureSource("paintings", train, 0.28, (0.3, 1.0), 0.45))
        held_out["paintings"] = test
    sources.append(PictureSource("bundled", bundled(2 * options.side), 0.07, (0.3, 1.0), 0.4))
    return Mixture(sources, options.patterns, options.side, held_out)


def latent_code(mixture: Mixture, options: Options) -> PatchCode:
    """Return the initial code of the autoencoder: fitted and saved, or loaded when resuming."""
    path = options.state / "code.safetensors"
    if options.resume and path.exists():
        return PatchCode(**load_file(path))
    pixels = mixture.batch(options.seed, FIT_STEP, FIT_PICTURES, options.side)
    code = fit(pixels, options.channels)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in code.tensors().items()}, path)
    return code


def load_folders(
    folders: Iterable[Path], short_side: int, share: float
) -> tuple[list[PhotoArray], list[PhotoArray]]:
    """Load all pictures in folders and their subfolders, in the order of their paths.

    Args:
        folders: Folders of pictures.
        short_side: Largest short side in pixels.
        share: Held-out share of each folder; above 0, at least one picture of each is held out.

    Returns:
        Pictures to train on, and held-out pictures.

    Raises:
        ValueError: a folder has no pictures.
    """
    train: list[Path] = []
    test: list[Path] = []
    for folder in folders:
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            raise ValueError(f"no pictures under {folder}; expected {sorted(IMAGE_SUFFIXES)}")
        chosen = [p for p in paths if is_held_out(p, share)]
        if not chosen and share > 0 and len(paths) > 1:
            chosen = paths[-1:]
        test += chosen
        train += [p for p in paths if p not in set(chosen)]
    with ThreadPoolExecutor() as pool:
        loaded = list(pool.map(lambda p: load_picture(p, short_side), train + test))
    return loaded[: len(train)], loaded[len(train) :]


def load_picture(path: Path, short_side: int) -> PhotoArray:
    """Read a picture upright and in RGB; its short side is at most `short_side` pixels."""
    with Image.open(path) as opened:
        opened.draft("RGB", (short_side, short_side))
        image = ImageOps.exif_transpose(opened).convert("RGB")
    scale = short_side / min(image.size)
    if scale < 1:
        size = (round(image.width * scale), round(image.height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return np.asarray(image)


def is_held_out(path: Path, share: float) -> bool:
    """Whether a file belongs to the held-out share, by a hash of its name."""
    return int(hashlib.sha256(path.name.encode()).hexdigest()[:8], 16) / 2**32 < share


def bundled(short_side: int) -> list[PhotoArray]:
    """Return the photos that ship with scikit-image and scikit-learn, as far as installed."""
    folders = [files("skimage").joinpath("data"), files("sklearn").joinpath("datasets", "images")]
    names = [*SKIMAGE, "china", "flower"]
    paths = [Path(str(f)) / f"{n}{s}" for f in folders for n in names for s in (".png", ".jpg")]
    return [load_picture(p, short_side) for p in paths if p.is_file()]


def _augment(
    rng: np.random.Generator,
    picture: PhotoArray,
    side: int,
    zoom: tuple[float, float],
    jitter: float,
) -> PhotoArray:
    height, width = picture.shape[:2]
    crop = min(height, width) * rng.uniform(*zoom)
    left, top = rng.uniform(0, width - crop), rng.uniform(0, height - crop)
    box = (left, top, left + crop, top + crop)
    image = Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC, box)
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    if jitter > 0 and rng.random() < 0.7:
        image = _recolor(rng, image, jitter)
    return np.asarray(image)


def _recolor(rng: np.random.Generator, image: Image.Image, jitter: float) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    turn = int(rng.normal(0, 128 * jitter**1.5))
    hue = hue.point([(i + turn) % 256 for i in range(256)])
    image = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    span = 0.6 * jitter
    image = ImageEnhance.Color(image).enhance(float(rng.uniform(1 - span, 1 + span)))
    image = ImageEnhance.Contrast(image).enhance(float(rng.uniform(1 - span, 1 + span)))
    return ImageEnhance.Brightness(image).enhance(float(rng.uniform(1 - span, 1 + span)))
