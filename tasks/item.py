"""Items, start to end: read, prepare, match, restyle together, write. Each ends as one row."""

import time
from collections.abc import Callable

from schemas.result import ItemResult
from stylegallery import images
from stylegallery.types import Job, Sampled, Stylized
from tasks import storage
from tasks.adoption import adopt
from tasks.bench import Bench
from tasks.caches import Prepared
from tasks.faults import lacks_memory
from tasks.kept_thumbnails import keep_thumbnail
from tasks.lease import Assignment
from tasks.notes import Note, credits_of, rights_text
from tasks.rows import row_of, trouble
from tasks.sources import content_of, pins_of, protection_of, style_of
from tasks.stages import Stages

Finish = Callable[[], ItemResult]
"""Decodes, encodes and writes what was sampled of an item, and returns its row.

It may run in another thread.
"""


def restyle_items(bench: Bench, group: list[Assignment]) -> list[Finish]:
    """Make the pictures of some items in the same UNet calls, as far as their sizes allow.

    Nothing is raised: what goes wrong with an item is in its row, and the others go on.

    Args:
        bench: Engine, output, parameters and caches.
        group: What to do. With `adopt` set an asset may stand already, from before a crash; it is
            then read back and, if it is whole and of this item, taken over.

    Returns:
        What is left to do of each, in their order.
    """
    works = [_Work(bench, assignment) for assignment in group]
    for work in works:
        work.attempt(work.begin)
    _restyle(bench, [work for work in works if work.job is not None])
    return [work.finish for work in works]


def _restyle(bench: Bench, works: list["_Work"]) -> None:
    """Restyle some items together; when that does not work, one half after the other."""
    if not works:
        return
    begin = time.perf_counter()
    try:
        made = bench.engine.sample_batch([work.job for work in works if work.job], bench.params)
    except Exception as error:
        if len(works) == 1:
            works[0].fail(error)
            return
        short = lacks_memory(error)
    else:
        for work, one in zip(works, made, strict=True):
            work.sampled = one
            work.stages.add("stylize", (time.perf_counter() - begin) / len(works))
        return
    # out of the handler, whose error holds the memory of what failed
    half = len(works) // 2
    if short:
        bench.batch = half
        bench.free_memory()
    _restyle(bench, works[:half])
    _restyle(bench, works[half:])


class _Work:
    """One item on its way: where it is, and what is known of it so far."""

    def __init__(self, bench: Bench, assignment: Assignment) -> None:
        self._bench, self._item = bench, assignment.item
        self._adopt, self._over = assignment.adopt, assignment.over
        self.stages = Stages()
        self.job: Job | None = None
        self.sampled: Sampled | None = None
        self._row: ItemResult | None = None

    def attempt(self, step: Callable[[], None]) -> None:
        """Take a step; what goes wrong becomes the item's row."""
        try:
            step()
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """End the item."""
        self._row = trouble(self._item, error, self.stages)

    def begin(self) -> None:
        """Take over what stands, or get ready to be restyled."""
        if self._adopt:
            self._row = adopt(self._bench, self._item, self.stages)
        if self._row is not None:
            return
        self._prepare()
        # Its region maps, which are written by now, may be all that was lacking.
        if self._adopt and (row := adopt(self._bench, self._item, self.stages)):
            self._row, self.job = row, None

    def finish(self) -> ItemResult:
        """Decode, encode and write what was sampled, if anything was."""
        if self._row is None:
            self.attempt(self._write)
        assert self._row is not None
        return self._row

    def _prepare(self) -> None:
        bench, item, stages = self._bench, self._item, self.stages
        with stages.stage("prepare"):
            self._content = content_of(bench, item)
            protect, pins = protection_of(bench, item), pins_of(bench, item)
        with stages.stage("references"):
            self._styles = [style_of(bench, style, item.gallery_id) for style in item.styles]
        content, pictures = self._content.image, [style.image for style in self._styles]
        with stages.stage("match"):
            weights = [style.weight for style in item.styles]
            routing = bench.engine.match(content, pictures, bench.params, weights, pins)
        stages.current = "stylize"
        self.job = Job(content, pictures, routing, item.seed, protect)

    def _write(self) -> None:
        bench, item, stages = self._bench, self._item, self.stages
        assert self.sampled is not None
        with stages.stage("decode"):
            made = bench.engine.decode(self.sampled, bench.params)
        with stages.stage("encode"):
            note = self._note(made, self._content, self._styles)
            data = images.encode(
                made.picture,
                item.image_format,
                note.to_text(),
                rights=rights_text(note.references),
                quality=item.quality,
            )
        place = storage.join(bench.output, item.asset_key)
        with stages.stage("write"):
            # Before the asset: where that stands, nobody makes its small picture any more.
            keep_thumbnail(bench, made.picture, storage.content_version(data))
            if self._over:
                storage.write_bytes(place, data)
            elif not storage.write_new(place, data):
                # Another run was faster, or an attempt whose row was lost: its bytes have a row
                # that names their hash, so they stay if they are whole.
                if there := adopt(bench, item, stages):
                    self._row = there.model_copy(update={"reused": False})
                    return
                storage.write_bytes(place, data)
        self._row = row_of(item, note, data, stages)

    def _note(self, made: Stylized, content: Prepared, styles: list[Prepared]) -> Note:
        item, (height, width) = self._item, made.picture.size
        names = [style.style_id for style in item.styles]
        last = made.trace[-1] if made.trace else None
        return Note(
            item_id=item.item_id,
            engine=self._bench.fingerprint,
            params=self._bench.params,
            references=credits_of(item.styles),
            seed=item.seed,
            width=width,
            height=height,
            regions_uri=content.regions_uri,
            style_regions={n: s.regions_uri for n, s in zip(names, styles, strict=True)},
            matches=made.routing.rows(names),
            metrics={"loss": last.loss, "style_loss": last.style_loss} if last else {},
            blank_styles={n: s.blank for n, s in zip(names, styles, strict=True) if s.blank},
        )
