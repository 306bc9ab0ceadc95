"""Restyle items from start to end: read, prepare, match, restyle in batches, write."""

import time
from collections.abc import Callable

from schemas.params import StyleParams
from schemas.result import ItemResult
from stylegallery.adapters.adapter import Adapter
from stylegallery.images import codec
from stylegallery.types import RestyledImage, RestyledLatent, StyleJob
from tasks.errors import LearningError
from tasks.items.adapters import load_adapter, sources_of
from tasks.items.context import ActorContext
from tasks.items.inputs import load_content, load_pins, load_protection, load_style
from tasks.items.outcome import StageTimer, failure_result, success_result
from tasks.items.prepared import Prepared
from tasks.items.provenance import AssetMetadata, LearntStyle, reference_credits, rights_text
from tasks.items.recovery import recover_asset
from tasks.items.thumbnails import save_thumbnail
from tasks.messages import Assignment
from tasks.planning.learning import AdapterSource
from tasks.storage import content_version
from tasks.storage.transient import is_out_of_memory


def restyle_items(context: ActorContext, group: list[Assignment]) -> list["PendingItem"]:
    """Run the engine on some items, in shared UNet calls where their sizes allow.

    Raises nothing: errors become the results of their items, and the other items continue.

    Args:
        context: Engine, output, parameters and caches.
        group: The items.

    Returns:
        The items in order. :meth:`PendingItem.finish` decodes, encodes and writes each.
    """
    items = [PendingItem(context, assignment) for assignment in group]
    alike: dict[StyleParams, list[PendingItem]] = {}
    for item in items:
        item.attempt(item.start)
        if item.job is not None:
            alike.setdefault(item.params, []).append(item)
    for some in alike.values():
        _sample(context, some)
    return items


def _sample(context: ActorContext, items: list["PendingItem"]) -> None:
    """Restyle some items of equal parameters together; if that fails, each half by itself."""
    if not items:
        return
    params = items[0].params
    begin = time.perf_counter()
    try:
        latents = context.engine.sample_batch([one.job for one in items if one.job], params)
    except Exception as error:
        if len(items) == 1:
            items[0].fail(error)
            return
        out_of_memory = is_out_of_memory(error)
    else:
        for item, latent in zip(items, latents, strict=True):
            item.latent = latent
            item.timer.add("stylize", (time.perf_counter() - begin) / len(items))
        return
    # Outside the handler, because the exception keeps the failed call's memory alive.
    half = len(items) // 2
    if out_of_memory:
        context.batch = half
        context.free_memory()
    _sample(context, items[:half])
    _sample(context, items[half:])


class PendingItem:
    """An item between the start of its processing and its result.

    Attributes:
        timer: Times its stages.
        params: Style parameters of its gallery.
        job: Input of the engine; None if the item has a result already.
        latent: Output of the engine.
    """

    def __init__(self, context: ActorContext, assignment: Assignment) -> None:
        self._context, self._item = context, assignment.item
        self._recover, self._overwrite = assignment.recover, assignment.overwrite
        self.timer = StageTimer()
        self.params = context.params_of(assignment.item)
        self.job: StyleJob | None = None
        self.latent: RestyledLatent | None = None
        self._result: ItemResult | None = None
        self._learnt: list[tuple[AdapterSource, Adapter]] = []

    def attempt(self, step: Callable[[], None]) -> None:
        """Call `step`; an exception becomes the item's result."""
        try:
            step()
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Set a rejected or failed result."""
        self._result = failure_result(self._item, error, self.timer)

    def start(self) -> None:
        """Recover an existing asset, or load and match the inputs."""
        if self._recover:
            self._result = recover_asset(self._context, self._item, self.timer)
        if self._result is not None:
            return
        self._prepare()
        # Only its region maps may have been missing; they are written by now.
        if self._recover and (result := recover_asset(self._context, self._item, self.timer)):
            self._result, self.job = result, None

    def finish(self) -> ItemResult:
        """Decode, encode and write the asset, and return the result; safe in another thread."""
        if self._result is None:
            self.attempt(self._write)
        assert self._result is not None
        return self._result

    def _prepare(self) -> None:
        context, item, timer = self._context, self._item, self.timer
        sources = sources_of(context, item)
        if sources:  # first: without its style, nothing else of the item is needed
            with timer.stage("learn"):
                if item.gallery_id in context.refused:
                    raise LearningError(context.refused[item.gallery_id])
                self._learnt = [(source, load_adapter(context, source)) for source in sources]
        with timer.stage("prepare"):
            self._content = load_content(context, item)
            protect, pins = load_protection(context, item), load_pins(context, item)
        with timer.stage("references"):
            self._styles = [load_style(context, style, item.gallery_id) for style in item.styles]
        content, styles = self._content.image, [style.image for style in self._styles]
        with timer.stage("match"):
            weights = [style.weight for style in item.styles]
            routing = context.engine.match(content, styles, self.params, weights, pins)
        timer.current = "stylize"
        adapters = tuple(adapter for _, adapter in self._learnt)
        self.job = StyleJob(content, styles, routing, item.seed, protect, adapters)

    def _write(self) -> None:
        context, item, timer = self._context, self._item, self.timer
        assert self.latent is not None
        with timer.stage("decode"):
            restyled = context.engine.decode(self.latent, self.params)
        with timer.stage("encode"):
            metadata = self._metadata(restyled, self._content, self._styles)
            data = codec.encode(
                restyled.picture,
                item.image_format,
                metadata.to_text(),
                rights=rights_text(metadata.references),
                quality=item.quality,
            )
        asset = context.output / item.asset_key
        with timer.stage("write"):
            # Before the asset: nobody writes the thumbnail of an asset that exists.
            save_thumbnail(context, restyled.picture, content_version(data))
            if self._overwrite:
                asset.write_bytes(data)
            elif not asset.write_new(data):
                # Another run wrote it first, or an attempt whose result was lost. A result may
                # already hold its hash, so an intact file stays.
                if existing := recover_asset(context, item, timer):
                    self._result = existing.model_copy(update={"reused": False})
                    return
                asset.write_bytes(data)
        self._result = success_result(item, metadata, data, timer)

    def _metadata(
        self, restyled: RestyledImage, content: Prepared, styles: list[Prepared]
    ) -> AssetMetadata:
        item, (height, width) = self._item, restyled.picture.size
        names = [style.style_id for style in item.styles]
        last = restyled.trace[-1] if restyled.trace else None
        return AssetMetadata(
            item_id=item.item_id,
            engine=self._context.fingerprint,
            params=self.params,
            references=reference_credits(item.styles),
            seed=item.seed,
            width=width,
            height=height,
            regions_uri=content.regions_uri,
            style_regions={n: s.regions_uri for n, s in zip(names, styles, strict=True)},
            matches=restyled.routing.rows(names),
            metrics={"loss": last.loss, "style_loss": last.style_loss} if last else {},
            blank_styles={n: s.blank for n, s in zip(names, styles, strict=True) if s.blank},
            adapters=[
                LearntStyle(
                    styles=[style.style_id for style in source.styles],
                    sha256=adapter.sha256,
                    weak=adapter.is_weak,
                )
                for source, adapter in self._learnt
            ],
            form=None if restyled.form is None else round(restyled.form, 4),
            attempted_strengths=list(restyled.strengths),
        )
