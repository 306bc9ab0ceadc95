"""`stylegallery stylize`: restyle one image, without Prefect or Ray."""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators

from flows.cli.commands.learn import learn_styles
from flows.cli.console import print_stderr, progress_bar
from flows.cli.flags import StyleFlags, field_help
from flows.cli.settings import resolve_engine
from flows.runtime.errors import UsageError
from schemas.engine import EngineSpec
from schemas.manifest import CatalogRow
from schemas.methods import method_info
from schemas.params import StyleParams
from schemas.run import RestyleSpec
from schemas.text import counted
from stylegallery.models.threads import limit_threads
from tasks.storage.transient import is_disk_full

if TYPE_CHECKING:
    from torch import Tensor

    from stylegallery import PreparedImage, Step, StyleJob
    from stylegallery.matching.correspondence import Correspondence, Pin

_FORMATS = {".png": "png", ".webp": "webp", ".jpg": "jpg", ".jpeg": "jpg"}
_DEFAULTS = StyleFlags()


@Parameter(name="*")
@dataclass(frozen=True)
class Guides:
    """Regions, protected pixels and matches that the user sets; None leaves them to the engine."""

    mask: Annotated[Path | None, Parameter(help=field_help(CatalogRow, "mask_uri"))] = None
    protect: Annotated[Path | None, Parameter(help=field_help(CatalogRow, "protect_uri"))] = None
    routing: Annotated[Path | None, Parameter(help=field_help(CatalogRow, "routing_uri"))] = None

    def load(self, ids: list[str]) -> "tuple[Tensor | None, Tensor | None, list[Pin] | None]":
        """Return the label image, the protection mask and the pins.

        Args:
            ids: Ids of the references, in order.

        Raises:
            UsageError: a file is unreadable.
            InputError: a file has the wrong content.
        """
        from stylegallery.matching.correspondence import parse_pins
        from stylegallery.regions import label_images

        labels = protect = pins = None
        if self.mask:
            labels = label_images.decode_labels(_read("--mask", self.mask), str(self.mask))
        if self.protect:
            protect = label_images.decode_protection(
                _read("--protect", self.protect), str(self.protect)
            )
        if self.routing:
            pins = parse_pins(_read("--routing", self.routing), ids)
        return labels, protect, pins


_NO_GUIDES = Guides()


def stylize(
    *,
    content: Annotated[Path, Parameter(help="The image to restyle.")],
    style: Annotated[
        list[Path], Parameter(help="Reference image; repeatable.", negative_iterable=())
    ],
    out: Annotated[Path, Parameter(help="File to write: .png, .webp or .jpg.")],
    save_regions: Annotated[
        Path | None,
        Parameter(
            help="Folder for the region maps, matches.png, which shows the matched regions, and "
            "routing.json, which --routing reads."
        ),
    ] = None,
    guides: Guides = _NO_GUIDES,
    adapter: Annotated[
        list[Path] | None,
        Parameter(
            help="For a method that learns, such as sms: the style that `stylegallery learn` "
            "wrote, or another LoRA file for the model. A method that learns each reference by "
            "itself takes one for each --style, in their order. Without any, styles are learnt "
            "first.",
            negative_iterable=(),
        ),
    ] = None,
    quality: Annotated[
        int,
        Parameter(
            help=field_help(RestyleSpec, "quality"), validator=validators.Number(gte=0, lte=100)
        ),
    ] = 0,
    seed: Annotated[int, Parameter(help="Random seed. The same seed gives the same image.")] = 0,
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
    learns = method_info(params.method).learns
    if adapter and not learns:
        raise UsageError(
            f"--adapter is for a method that learns, and {params.method} does not; add --preset "
            "catalog or --method sms"
        )

    limit_threads()
    from stylegallery import StyleGallery, StyleJob
    from stylegallery.adapters.adapter import read_adapter
    from stylegallery.images import codec
    from stylegallery.images.blank import blank_warning, blankness
    from stylegallery.images.codec import check_format
    from stylegallery.validation import check_adapters

    check_adapters(len(adapter or ()), len(style), learns)
    pictures = [codec.open_picture(path) for path in (content, *style)]
    image_format = _FORMATS[out.suffix.lower()]
    check_format(pictures[0].size, image_format, str(content))
    for path, picture in zip(style, pictures[1:], strict=True):
        if what := blankness(picture):
            print_stderr(f"warning: {blank_warning(f'--style {path}', what)}")
    labels, protect, pins = guides.load(ids)
    stored = {path: _read("--adapter", path) for path in adapter or ()}
    engine = StyleGallery.load(spec)
    engine.encode_prompts(params)
    learnt = tuple(
        read_adapter(stored[path], engine.models.unet, str(path)) for path in adapter or ()
    )
    if learns and not learnt:
        learnt = learn_styles(engine, pictures[1:], [str(path) for path in style], params, seed=0)
    with progress_bar("preparing", len(pictures)) as advance:
        prepared: list[PreparedImage] = []
        for picture in pictures:
            prepared.append(engine.prepare(picture, params, None if prepared else labels))
            advance(len(prepared))
    matched = engine.match(prepared[0], prepared[1:], params, pins=pins)
    job = StyleJob(prepared[0], prepared[1:], matched, seed, protect, learnt)
    with progress_bar("stylizing") as advance:  # one bar after the other, a working size each

        def on_step(step: "Step") -> None:
            advance(step.index + 1, step.total)

        (result,) = engine.stylize_batch([job], params, on_step=on_step)
    metadata = _metadata(spec, params, ids, engine.models.device.type, job)
    _write(out, codec.encode(result.picture, image_format, metadata, quality=quality))
    if save_regions:
        _save_regions(save_regions, content, prepared, ids, matched)
    print_stderr(
        f"{out}: {counted(len(matched.best), 'region')} from {counted(len(ids), 'reference')}"
    )


def _metadata(
    spec: EngineSpec, params: StyleParams, ids: list[str], device: str, job: "StyleJob"
) -> str:
    """Return the metadata of the image as JSON: how it was made, as in the assets of a run."""
    from stylegallery.models.fingerprint import engine_fingerprint

    made = {
        "engine": engine_fingerprint(spec, device),
        "params": params.hashed(),
        "references": [{"style_id": style_id} for style_id in ids],
        "seed": job.seed,
    }
    if job.adapters:
        made["adapters"] = [hashlib.sha256(one.to_bytes()).hexdigest() for one in job.adapters]
    return json.dumps(made, sort_keys=True, separators=(",", ":"))


def _save_regions(
    folder: Path,
    content: Path,
    prepared: "Sequence[PreparedImage]",
    ids: list[str],
    matched: "Correspondence",
) -> None:
    from stylegallery.regions.region_png import encode_region_map
    from stylegallery.visualize import match_panel

    for name, image in zip([f"content-{content.stem}", *ids], prepared, strict=True):
        _write(folder / f"{name}.png", encode_region_map(image.regions))
    panel = io.BytesIO()
    match_panel(prepared[0], prepared[1:], matched.rows(ids), ids).save(panel, "PNG")
    _write(folder / "matches.png", panel.getvalue())
    _write(folder / "routing.json", matched.to_json(ids).encode())


def _style_ids(paths: Sequence[Path]) -> list[str]:
    """Return the ids of the references: their file names, numbered where they are equal."""
    stems = [path.stem for path in paths]
    return [
        stem if stems.count(stem) == 1 else f"{stem}-{stems[: k + 1].count(stem)}"
        for k, stem in enumerate(stems)
    ]


def _read(flag: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{flag} {path}: {error.strerror or error}") from error


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        if is_disk_full(error):
            raise
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
