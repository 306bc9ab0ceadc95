"""Pairs of contents and references for the benchmarks."""

import argparse
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch

from stylegallery.images.codec import open_picture, resize
from stylegallery.images.picture import Picture
from stylegallery.images.suffixes import IMAGE_SUFFIXES
from stylegallery.training.data import is_held_out
from stylegallery.training.patterns import draw

HELD_OUT = 0.05  # the share of product photos that the embedded model was never trained on


@dataclass(frozen=True)
class Case:
    """One content and the references it is restyled with."""

    name: str
    content: Picture
    references: list[Picture]


def picture_parser(description: str) -> argparse.ArgumentParser:
    """Return a command line that asks for the folders of :func:`cases`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--contents", type=Path, help="folder of photos")
    parser.add_argument("--styles", type=Path, help="folder of style families")
    return parser


def cases(
    contents: Path | None, styles: Path | None, count: int, references: int,
    short_side: int = 256, square: bool = False,
) -> list[Case]:  # fmt: skip
    """Return `count` cases, contents and style families at even distances in the order of names.

    Args:
        contents: Folder of photos; of many, those held out from training are taken. None: the
            photos of scikit-image and scikit-learn.
        styles: Folder of style families (folders of references). None: drawn patterns.
        count: Number of cases.
        references: References of each case, all of one family.
        short_side: Pixels; larger pictures are shrunk, so that figures are of one scale.
        square: Contents are cut to exactly these sides, so that all of them cost the same.
    """
    photos = _contents(contents)
    families = _families(styles)
    made = []
    for index in range(count):
        photo = photos[index * len(photos) // count]
        name, members = families[index % len(families)]
        first = index // len(families)
        chosen = [members[(first + k) % len(members)] for k in range(references)]
        content = _shrunk(open_picture(photo), short_side)
        if square:
            content = _cut(content, short_side)
        made.append(
            Case(
                f"{photo.stem[:8]} x {name}",
                content,
                [_shrunk(_open(member), short_side) for member in chosen],
            )
        )
    return made


def _contents(folder: Path | None) -> list[Path]:
    if folder is None:
        data = Path(str(files("skimage").joinpath("data")))
        learn = Path(str(files("sklearn").joinpath("datasets", "images")))
        return [data / "astronaut.png", data / "chelsea.png", data / "coffee.png",
                data / "rocket.jpg", learn / "china.jpg", learn / "flower.jpg"]  # fmt: skip
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    held_out = [p for p in found if is_held_out(p, HELD_OUT)]
    return held_out if len(held_out) >= 24 else found


def _families(folder: Path | None) -> list[tuple[str, list[Path | int]]]:
    if folder is None:
        return [(f"pattern {i}", [10 * i + k for k in range(5)]) for i in range(6)]
    return [
        (home.name, sorted(p for p in home.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES))
        for home in sorted(p for p in folder.iterdir() if p.is_dir())
    ]


def _open(member: Path | int) -> Picture:
    if isinstance(member, Path):
        return open_picture(member)
    pixels = torch.from_numpy(draw((10**6, member), 256)).permute(2, 0, 1)[None].float() / 255
    return Picture(pixels)


def _shrunk(picture: Picture, short_side: int) -> Picture:
    scale = short_side / min(picture.size)
    size = (round(picture.size[0] * scale), round(picture.size[1] * scale))
    return Picture(resize(picture.pixels, size)) if scale < 1 else picture


def _cut(picture: Picture, side: int) -> Picture:
    """Cut the middle square out, enlarged if need be."""
    short = min(picture.size)
    top, left = ((length - short) // 2 for length in picture.size)
    middle = picture.pixels[..., top : top + short, left : left + short]
    return Picture(resize(middle, (side, side)))
