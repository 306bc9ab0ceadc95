"""`stylegallery stylize`: one image through the engine, with neither Prefect nor Ray."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.console import bar, say
from flows.flags import StyleFlags
from flows.settings import resolve_engine
from flows.usage import UsageError

if TYPE_CHECKING:
    from stylegallery import PreparedImage, Step
    from stylegallery.routing import Correspondence

_FORMATS = {".png": "png", ".webp": "webp", ".jpg": "jpg", ".jpeg": "jpg"}
_DEFAULTS = StyleFlags()


def stylize(
    *,
    content: Annotated[Path, Parameter(help="The image to restyle.")],
    style: Annotated[list[Path], Parameter(help="A reference image; repeat it for more.")],
    out: Annotated[Path, Parameter(help="File to write: .png, .webp or .jpg.")],
    save_regions: Annotated[
        Path | None,
        Parameter(help="Folder for the region maps and routing.json, which --routing takes back."),
    ] = None,
    routing: Annotated[
        Path | None, Parameter(help="JSON pins: content region to reference and its region.")
    ] = None,
    seed: Annotated[int, Parameter(help="The same seed gives the same picture.")] = 0,
    flags: StyleFlags = _DEFAULTS,
) -> None:
    """Restyle one image with one or more references."""
    params, spec = resolve_engine(*flags.layers())
    ids = _style_ids(style)
    if out.suffix.lower() not in _FORMATS:
        raise UsageError(f"--out {out}: the name must end in {', '.join(_FORMATS)}")
    for path in (content, *style):
        if not path.is_file():
            raise UsageError(f"{path} is not a file")

    from stylegallery import StyleGallery, images
    from stylegallery.routing import parse_pins

    pictures = [images.open_picture(path) for path in (content, *style)]
    pins = parse_pins(_read(routing), ids) if routing else None
    engine = StyleGallery.load(spec)
    with bar("preparing", len(pictures)) as advance:
        prepared = []
        for picture in pictures:
            prepared.append(engine.prepare(picture, params))
            advance(len(prepared))
    matched = engine.match(prepared[0], prepared[1:], params, pins=pins)
    with bar("stylizing", params.steps) as advance:

        def on_step(step: "Step") -> None:
            advance(step.index + 1)

        result = engine.stylize(
            prepared[0], prepared[1:], matched, params, seed=seed, on_step=on_step
        )
    note = params.model_dump_json()
    _write(out, images.encode(result.picture, _FORMATS[out.suffix.lower()], note))
    if save_regions:
        _save_regions(save_regions, content, prepared, ids, matched)
    say(f"{out}: {len(matched.best)} regions from {len(ids)} reference{'s'[: len(ids) > 1]}")


def _save_regions(
    folder: Path,
    content: Path,
    prepared: "Sequence[PreparedImage]",
    ids: list[str],
    matched: "Correspondence",
) -> None:
    from stylegallery.masks import encode_labels

    for name, image in zip([f"content-{content.stem}", *ids], prepared, strict=True):
        _write(folder / f"{name}.png", encode_labels(image.regions.labels))
    _write(folder / "routing.json", matched.to_json(ids).encode())


def _style_ids(paths: Sequence[Path]) -> list[str]:
    """Name each reference by its file; equal names get a number."""
    stems = [path.stem for path in paths]
    return [
        stem if stems.count(stem) == 1 else f"{stem}-{stems[: k + 1].count(stem)}"
        for k, stem in enumerate(stems)
    ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"--routing {path}: {error.strerror or error}") from error


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
