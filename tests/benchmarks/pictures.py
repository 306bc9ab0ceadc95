"""Pairs of contents and references for the benchmarks."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stylegallery.images.bundled import bundled_photos
from stylegallery.images.codec import open_picture, resize, to_short_side
from stylegallery.images.picture import Picture
from stylegallery.images.suffixes import IMAGE_SUFFIXES
from stylegallery.training.data import is_held_out
from stylegallery.training.patterns import draw

CELL = 256
"""Side in pixels of a picture on a sheet."""
HELD_OUT = 0.05  # share of product photos that the embedded model was not trained on


@dataclass(frozen=True)
class Case:
    """A content and its references."""

    name: str
    content: Picture
    references: list[Picture]


def picture_parser(description: str) -> argparse.ArgumentParser:
    """Return an argument parser with the folders of :func:`cases`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--contents", type=Path, help="folder of photos")
    parser.add_argument("--styles", type=Path, help="folder of style families")
    return parser


def cases(
    contents: Path | None, styles: Path | None, count: int, references: int,
    short_side: int = 256, square: bool = False,
) -> list[Case]:  # fmt: skip
    """Return `count` cases, with contents and style families at even distances in name order.

    Args:
        contents: Folder of photos; if it has enough held-out photos, only those are used. None
            uses the photos of scikit-image and scikit-learn.
        styles: Folder of style families, each a folder of references. None uses drawn patterns.
        count: Number of cases.
        references: Number of references per case, all of one family.
        short_side: Short side in pixels to which larger pictures are resized.
        square: Crops contents to squares of this side, so that all cost the same.
    """
    found = photos(contents)
    families = _families(styles)
    made = []
    for index in range(count):
        photo = found[index * len(found) // count]
        name, members = families[index % len(families)]
        first = index // len(families)
        chosen = [members[(first + k) % len(members)] for k in range(references)]
        content = shrunk(open_picture(photo), short_side)
        if square:
            content = _cut(content, short_side)
        made.append(
            Case(
                f"{photo.stem[:8]} x {name}",
                content,
                [shrunk(_open(member), short_side) for member in chosen],
            )
        )
    return made


def photos(folder: Path | None) -> list[Path]:
    """Return the photos of a folder in name order, only held-out ones if there are enough.

    None gives those of scikit-image and scikit-learn.
    """
    if folder is None:
        return bundled_photos()
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    held_out = [p for p in found if is_held_out(p, HELD_OUT)]
    return held_out if len(held_out) >= 24 else found


def fitted(pixels: Tensor, shrink: bool = True) -> Tensor:
    """Return (1, 3, 256, 256): the picture made smaller, or its upper left corner."""
    if shrink:
        pixels = to_short_side(pixels, round(CELL * min(pixels.shape[-2:]) / max(pixels.shape)))
    cell = torch.ones(1, 3, CELL, CELL)
    cut = pixels[..., :CELL, :CELL]
    cell[..., : cut.shape[-2], : cut.shape[-1]] = cut
    return cell


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


def shrunk(picture: Picture, short_side: int) -> Picture:
    """Return a picture with a short side of at most `short_side` pixels."""
    scale = short_side / min(picture.size)
    size = (round(picture.size[0] * scale), round(picture.size[1] * scale))
    return Picture(resize(picture.pixels, size)) if scale < 1 else picture


def _cut(picture: Picture, side: int) -> Picture:
    """Crop the center square and resize it."""
    short = min(picture.size)
    top, left = ((length - short) // 2 for length in picture.size)
    middle = picture.pixels[..., top : top + short, left : left + short]
    return Picture(resize(middle, (side, side)))
