"""Makes README's picture from a finished demo: `python -m tests.readme_picture demo-out`."""

import sys
from pathlib import Path

from PIL import Image

from stylegallery.visualize import Cell, contact_sheet

PRODUCTS = ("coffee-cup", "tabby-cat", "motorcycle")
GALLERIES = ("oil", "glass")
_WIDTH, _QUALITY = 1440, 85


def rows(demo: Path) -> list[list[Cell]]:
    """Return a row for each product: the photo, and beside it references and result by gallery."""
    found = []
    for product in PRODUCTS:
        row: list[Cell] = [("photo", _opened(demo / f"inputs/products/{product}.png"))]
        for gallery in GALLERIES:
            (result,) = (demo / "assets" / gallery / product).glob("*.png")
            row.append(("references", _stacked(demo / "inputs/galleries" / gallery)))
            row.append((f"restyled: {gallery}", _opened(result)))
        found.append(row)
    return found


def main() -> None:
    """Write `.github/demo.jpg`."""
    sheet = contact_sheet(rows(Path(sys.argv[1])))
    sheet.thumbnail((_WIDTH, sheet.height), Image.Resampling.LANCZOS)
    target = Path(__file__).parents[1] / ".github" / "demo.jpg"
    sheet.save(target, quality=_QUALITY, optimize=True)
    print(f"{target}: {sheet.width}x{sheet.height} px, {target.stat().st_size / 1000:.0f} kB")


def _opened(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def _stacked(folder: Path) -> Image.Image:
    """Return the references of a gallery as squares, one below the other."""
    side, gap = 240, 12
    squares = [_square(_opened(path), side) for path in sorted(folder.iterdir())]
    height = len(squares) * (side + gap) - gap
    stack = Image.new("RGB", (side, height), "white")
    for index, square in enumerate(squares):
        stack.paste(square, (0, index * (side + gap)))
    return stack


def _square(image: Image.Image, side: int) -> Image.Image:
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    return image.crop((left, top, left + edge, top + edge)).resize((side, side))


if __name__ == "__main__":
    main()
