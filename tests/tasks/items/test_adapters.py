"""Learnt styles of items: memory, then `prepared/`, then its marker, then learning."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from schemas.result import ItemResult
from schemas.work import StyleSource, WorkItem
from stylegallery import StyleGallery
from stylegallery.adapters.adapter import Adapter, read_adapter
from stylegallery.errors import BadReferences
from tasks.errors import LearningError
from tasks.items.adapters import learn_adapter, load_adapter, sources_of
from tasks.items.context import ActorContext
from tasks.planning.learning import AdapterSource
from tasks.records.learnt_files import LearningFailure, adapter_file, failure_file, read_failure
from tasks.storage import StoragePath
from tests.tasks import pictures
from tests.tasks.conftest import PARAMS
from tests.tasks.galleries import LEARNING, PICTURES
from tests.tasks.places import at
from tests.tasks.single_items import item_of, restyle_item

NOISE = pictures.encoded(pictures.noise(), "PNG")


@pytest.fixture
def learnt(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count what is learnt: the number of references of each call."""
    calls: list[int] = []
    real = StyleGallery.learn

    def counted(engine: StyleGallery, styles: list[Any], *more: Any, **named: Any) -> Adapter:
        calls.append(len(styles))
        return real(engine, styles, *more, **named)

    monkeypatch.setattr(StyleGallery, "learn", counted)
    return calls


def actor(context: ActorContext) -> ActorContext:
    """Return the context of another actor of a run that learns."""
    return ActorContext(context.engine, context.output, LEARNING, run_id="run-1")


def item(folder: Path, *names: str) -> WorkItem:
    """Return an item in a gallery of these references."""
    made = item_of(folder, NOISE)
    styles = []
    for name in names:
        file = pictures.save(folder / f"{name}.png", PICTURES[name])
        terms = {"license": "CC BY 4.0", "attribution": "A. Painter"}
        version = at(file).version()
        styles.append(
            StyleSource(style_id=name, image_uri=str(file), image_version=version, **terms)
        )
    return made.model_copy(update={"styles": styles})


@pytest.fixture
def source(context: ActorContext, tmp_path: Path) -> AdapterSource:
    (found,) = sources_of(actor(context), item(tmp_path, "sky"))
    return found


def test_memory_then_the_file_then_learning(
    context: ActorContext, source: AdapterSource, learnt: list[int]
) -> None:
    first = actor(context)
    adapter = load_adapter(first, source)
    assert load_adapter(first, source) is adapter
    again = load_adapter(actor(context), source)
    assert learnt == [1]
    assert again.sha256 == adapter.sha256 != ""
    for name, factors in adapter.factors.items():
        assert all(map(torch.equal, factors, again.factors[name]))
    assert adapter.notes["learnt_from"] == [
        {
            "image_version": source.styles[0].image_version,
            "weight": 1.0,
            "license": "CC BY 4.0",
            "attribution": "A. Painter",
        }
    ]


def test_a_gallery_learns_by_its_own_method(
    context: ActorContext, tmp_path: Path, learnt: list[int]
) -> None:
    run = replace(context, params=PARAMS.model_copy(update={"adapter_steps": 3}))
    wanted = item(tmp_path, "sky")
    (style,) = wanted.styles
    own = wanted.model_copy(update={"styles": [style.model_copy(update={"preset": "catalog"})]})
    row = restyle_item(run, own)
    assert (row.status, row.method, learnt) == ("ok", "sms", [1]), row.error
    assert sources_of(run, wanted) == []


@pytest.mark.parametrize("harm", ["cut", "nan", "flip", "another's", "too large"])
def test_a_damaged_file_is_learnt_again_and_logged(
    context: ActorContext,
    source: AdapterSource,
    learnt: list[int],
    harm: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    learn_adapter(actor(context), source)
    file = Path(adapter_file(context.output, source.key).uri)
    whole = file.read_bytes()
    if harm == "cut":
        file.write_bytes(whole[:-9])
    elif harm == "flip":
        file.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    elif harm == "another's":
        other = replace(source, key="0" * 64)
        learn_adapter(actor(context), other)
        file.write_bytes(Path(adapter_file(context.output, other.key).uri).read_bytes())
        learnt.pop()
    elif harm == "nan":
        made = read_adapter(whole, context.engine.models.unet, "x")
        spoilt = {name: (down * torch.nan, up) for name, (down, up) in made.factors.items()}
        file.write_bytes(replace(made, factors=spoilt).to_bytes())
    else:
        monkeypatch.setattr("tasks.items.adapters._MAX_BYTES", len(whole) - 1)
    adapter = load_adapter(actor(context), source)
    assert learnt == [1, 1]
    assert file.read_bytes() == whole
    assert adapter.sha256 == at(file).version().removeprefix("sha256:")
    assert "the style of g/sky is learnt again: " in caplog.text
    assert str(file) in caplog.text


def test_bytes_that_were_damaged_on_their_way_are_read_again(
    context: ActorContext,
    source: AdapterSource,
    learnt: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learn_adapter(actor(context), source)
    real, reads = StoragePath.read_bytes, list[str]()

    def flaky(path: StoragePath, most: int | None = None) -> bytes:
        reads.append(path.uri)
        data = real(path, most)
        return data[:-1] + bytes([data[-1] ^ 1]) if len(reads) == 1 else data

    monkeypatch.setattr(StoragePath, "read_bytes", flaky)
    load_adapter(actor(context), source)
    assert (learnt, len(reads)) == ([1], 2)


def test_the_style_that_another_actor_wrote_first_stands(
    context: ActorContext, source: AdapterSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, place = StyleGallery.learn, adapter_file(context.output, source.key)

    def noted(hardware: str) -> Callable[..., Adapter]:
        def learn(engine: StyleGallery, *given: Any, **named: Any) -> Adapter:
            if hardware == "slow":
                place.write_bytes(first)
            made = real(engine, *given, **named)
            return replace(made, notes={**made.notes, "hardware": hardware})

        return learn

    monkeypatch.setattr(StyleGallery, "learn", noted("fast"))
    learn_adapter(actor(context), source)
    first = place.read_bytes()
    place.delete()
    monkeypatch.setattr(StyleGallery, "learn", noted("slow"))
    assert load_adapter(actor(context), source).notes["hardware"] == "fast"


@pytest.mark.parametrize(("name", "why"), [
    ("flat", "is of one tone"), ("small", "is 60x60 px"), ("clear", "is mostly transparent"),
])  # fmt: skip
def test_a_gallery_that_cannot_be_learnt_is_rejected_without_learning_again(
    context: ActorContext, tmp_path: Path, learnt: list[int], name: str, why: str
) -> None:
    wanted = item(tmp_path, "sky", name)
    rows: list[ItemResult] = [restyle_item(actor(context), wanted) for _ in range(2)]
    (tmp_path / "sky.png").unlink()  # nothing of the gallery is read any more
    rows.append(restyle_item(actor(context), wanted))
    for row in rows:
        assert row.status == "rejected"
        assert row.error is not None
        assert (row.error.stage, row.error.type) == ("learn", "BadReferences")
        assert row.error.message.startswith(f"reference '{name}' of gallery 'g' {why}")
    assert learnt == [2]
    (found,) = sources_of(actor(context), wanted)
    elsewhere = replace(found, gallery_id="h")
    with pytest.raises(BadReferences, match=f"^reference '{name}' of gallery 'h' {why}"):
        load_adapter(actor(context), elsewhere)


def test_an_error_of_ours_is_marked_and_a_later_success_removes_the_marker(
    context: ActorContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = item(tmp_path, "sky")
    (source,) = sources_of(actor(context), wanted)

    def broken(*_: Any, **__: Any) -> Adapter:
        raise RuntimeError("no memory at all")

    with monkeypatch.context() as patch:
        patch.setattr(StyleGallery, "learn", broken)
        with pytest.raises(LearningError, match="no memory at all"):
            learn_adapter(actor(context), source)
    assert read_failure(context.output, source.key) == LearningFailure(
        kind="failed", reason="no memory at all", run_id="run-1"
    )
    row = restyle_item(actor(context), wanted)
    assert (row.status, row.error and row.error.transient) == ("failed", False)
    assert row.error is not None
    assert row.error.message == (
        "the style of g/sky was not learnt: no memory at all; run the same command again to try "
        "again"
    )
    learn_adapter(actor(context), source)  # as the next run does
    assert not failure_file(context.output, source.key).exists()
    assert restyle_item(actor(context), wanted).status == "ok"


def test_a_reference_that_cannot_be_read_leaves_no_marker(
    context: ActorContext, tmp_path: Path
) -> None:
    wanted = item(tmp_path, "sky")
    (tmp_path / "sky.png").write_text("no image")
    version = at(tmp_path / "sky.png").version()
    style = wanted.styles[0].model_copy(update={"image_version": version})
    row = restyle_item(actor(context), wanted.model_copy(update={"styles": [style]}))
    assert row.status == "rejected"
    assert row.error is not None
    assert "cannot be used" in row.error.message
    assert not list(Path(context.output.uri).rglob("*.adapter.json"))


def test_a_style_of_which_hardly_anything_was_learnt_is_a_warning(
    context: ActorContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warnings(*names: str) -> list[str]:
        row = restyle_item(actor(context), item(tmp_path, *names))
        assert row.status == "ok", row.error
        return row.warnings

    monkeypatch.setattr(Adapter, "is_weak", property(lambda _: False))
    assert warnings("sky") == []
    monkeypatch.setattr(Adapter, "is_weak", property(lambda _: True))
    rest = "; raise adapter_steps or adapter_rate, or use references with clearer strokes"
    said = "the model learnt hardly anything from "
    Path(next(Path(context.output.uri, "assets").rglob("*.png"))).unlink()
    assert warnings("sky") == [f"{said}reference 'sky' of gallery 'g'{rest}"]
    Path(next(Path(context.output.uri, "assets").rglob("*.png"))).unlink()
    assert warnings("sky", "cup") == [f"{said}gallery 'g'{rest}"]
