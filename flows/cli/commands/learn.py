"""`stylegallery learn`: learn the style of references into a file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.cli.console import print_stderr, progress_bar
from flows.cli.flags import StyleFlags
from flows.cli.settings import resolve_engine
from flows.runtime.errors import UsageError
from schemas.methods import method_info
from schemas.params import StyleParams
from schemas.text import counted
from stylegallery.models.threads import limit_threads
from tasks.storage.transient import is_disk_full

if TYPE_CHECKING:
    from stylegallery import Picture, StyleGallery
    from stylegallery.adapters.adapter import Adapter

_DEFAULTS = StyleFlags()
_SUFFIX = ".safetensors"


def learn(
    *,
    style: Annotated[
        list[Path],
        Parameter(
            help="Reference images; strokes are learnt at the working size.",
            negative_iterable=(),
            consume_multiple=True,
        ),
    ],
    out: Annotated[Path, Parameter(help="File to write: a LoRA file, .safetensors.")],
    design: Annotated[
        Path | None,
        Parameter(
            help="For contrastive-lora: an image of what the reference shows, without its "
            "texture. Without one it is made of the reference."
        ),
    ] = None,
    seed: Annotated[int, Parameter(help="Random seed. The same seed gives the same file.")] = 0,
    flags: StyleFlags = _DEFAULTS,
) -> None:
    """Learn the style of references once, for `stylize --adapter` or as `--lora`."""
    params, spec = resolve_engine(*flags.layers())
    if out.suffix.lower() != _SUFFIX:
        raise UsageError(f"--out {out}: the name must end in {_SUFFIX}")

    limit_threads()
    from stylegallery import StyleGallery
    from stylegallery.images import codec
    from stylegallery.models.fingerprint import engine_fingerprint
    from stylegallery.validation import check_learning

    pictures = [codec.open_picture(path) for path in style]
    flat = codec.open_picture(design) if design else None
    check_learning(len(style), flat, params.method)
    engine = StyleGallery.load(spec)
    engine.encode_prompts(params)
    (adapter,) = learn_styles(engine, pictures, [str(path) for path in style], params, seed, flat)
    made = {"engine": engine_fingerprint(spec, engine.models.device.type)}
    adapter = replace(adapter, notes={**adapter.notes, **made})
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(adapter.to_bytes())
    except OSError as error:
        if is_disk_full(error):
            raise
        raise UsageError(f"{out} cannot be written: {error.strerror or error}") from error
    print_stderr(f"{out}: learnt from {counted(len(style), 'reference')}")
    if blocks := adapter.notes.get("style_blocks"):
        print_stderr(f"style blocks: {', '.join(blocks)}")


def learn_styles(
    engine: "StyleGallery",
    pictures: "Sequence[Picture]",
    names: Sequence[str],
    params: StyleParams,
    seed: int,
    design: "Picture | None" = None,
) -> "tuple[Adapter, ...]":
    """Learn the styles that a method needs: one of all references, or one for each.

    Shows a progress bar for each, and warns if hardly anything was learnt.

    Raises:
        BadReferences: no style can be learnt from a reference; the message names it.
    """
    singly = method_info(params.method).learns == "reference"
    alone = [([picture], [name]) for picture, name in zip(pictures, names, strict=True)]
    made = []
    for some, named in alone if singly else [(list(pictures), list(names))]:
        with progress_bar("learning") as advance:
            adapter = engine.learn(
                some, params, names=named, seed=seed, design=design, on_learn=advance
            )
        if adapter.is_weak:
            print_stderr(
                f"warning: the model learnt hardly anything from {', '.join(named)}; raise "
                "adapter_steps or adapter_rate, or use references with clearer strokes"
            )
        made.append(adapter)
    return tuple(made)
