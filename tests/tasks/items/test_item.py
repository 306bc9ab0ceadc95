"""Items on the real engine with a tiny model: good input, bad input, recovered assets."""

import io
import json
import os
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from PIL import Image
from skimage.data import chelsea

from schemas.result import ItemResult
from stylegallery import StyleGallery
from stylegallery.errors import DidNotConverge
from stylegallery.images import codec
from stylegallery.types import RestyledLatent, StyleJob
from tasks import storage
from tasks.errors import StorageError
from tasks.items.context import ActorContext
from tasks.items.inputs import load_content, read_ahead
from tasks.items.item import restyle_items
from tasks.items.prepared import PreparedCache, PreparedKey
from tasks.items.thumbnails import thumbnail_path
from tasks.messages import Assignment
from tasks.storage import StoragePath, s3, transient
from tests.faulty_proxy import Faults, faulty_proxy
from tests.tasks import pictures
from tests.tasks.conftest import PARAMS
from tests.tasks.places import at
from tests.tasks.single_items import item_of, restyle_item


def asset(context: ActorContext, row: ItemResult) -> Image.Image:
    assert row.status == "ok", row.error
    assert row.asset_uri is not None
    return Image.open(io.BytesIO((context.output / row.asset_uri).read_bytes()))


RGBA = np.dstack([pictures.noise(), np.tile(np.arange(48, dtype=np.uint8) * 5, (64, 1))])

GOOD = {
    "cmyk": pictures.encoded(pictures.noise(), "JPEG", mode="CMYK"),
    "16 bit": pictures.sixteen_bit_png(),
    "transparent": pictures.encoded(RGBA, "PNG"),
    "rotated": pictures.rotated_jpeg(),
}


@pytest.mark.parametrize("kind", GOOD)
def test_unusual_photos_become_assets(context: ActorContext, tmp_path: Path, kind: str) -> None:
    row = restyle_item(context, item_of(tmp_path, GOOD[kind]))
    picture = asset(context, row)
    assert picture.size == (row.width, row.height) == (48, 64)
    assert [match.region for match in row.matches] == list(range(len(row.matches)))
    assert row.regions_uri is not None
    assert (context.output / row.regions_uri).exists()
    if kind == "transparent":
        assert np.array_equal(np.asarray(picture)[..., 3], RGBA[..., 3])


def test_white_pixels_of_the_protection_mask_keep_the_photo(
    context: ActorContext, tmp_path: Path
) -> None:
    white = tmp_path / "white.png"
    white.write_bytes(pictures.encoded(np.full((64, 48), 255, np.uint8), "PNG"))
    extra = {"protect_uri": str(white), "protect_version": at(white).version()}
    photo = pictures.encoded(pictures.noise(), "PNG")
    picture = asset(context, restyle_item(context, item_of(tmp_path, photo, **extra)))
    assert np.array_equal(np.asarray(picture), pictures.noise())


NOISE = pictures.encoded(pictures.noise(), "PNG")
READ_BY_AN_ITEM = {
    "reference": pictures.encoded(pictures.noise()[:, ::-1].copy(), "PNG"),
    "image": pictures.encoded(pictures.noise()[::-1, ::-1].copy(), "PNG"),
    "mask": pictures.encoded(pictures.noise() // 128 * 255, "PNG"),
    "protect": NOISE,
    "routing": b'{"matches": [{"region": 0, "style_id": "s", "style_region": 0}]}',
}


@pytest.mark.parametrize("etag", ["of parts", "none"])
def test_a_file_that_does_not_decode_is_read_again(
    context: ActorContext,
    tmp_path: Path,
    moto_bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    etag: str,
) -> None:
    """Also where the ETag is no MD5 of the bytes (multipart objects) or missing."""
    monkeypatch.setattr(transient, "_FIRST_PAUSE", 0.0)
    if etag == "none":
        monkeypatch.setattr(s3, "_etag", lambda answer: "")
    with faulty_proxy(os.environ["AWS_ENDPOINT_URL"], Faults(0.0)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint_url)
        for number, (name, data) in enumerate(READ_BY_AN_ITEM.items(), start=1):
            place = f"{moto_bucket}/{name}"
            upload_in_parts(place, data)
            far = {f"{name}_uri": place, f"{name}_version": at(place).version()}
            item = item_of(tmp_path, NOISE, **({} if name == "reference" else far))
            if name == "reference":
                here = {"image_uri": place, "image_version": at(place).version()}
                item = item.model_copy(update={"styles": [item.styles[0].model_copy(update=here)]})
            proxy.faults = Faults(1.0, kinds=("flip",), most=number)
            row = restyle_item(context, item)
            assert (row.status, proxy.counts["flip"]) == ("ok", number), (name, row.error)
            proxy.faults = Faults(0.0)


def upload_in_parts(uri: str, data: bytes) -> None:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    where: Any = {"Bucket": bucket, "Key": key}
    where["UploadId"] = client.create_multipart_upload(**where)["UploadId"]
    part = client.upload_part(**where, PartNumber=1, Body=data)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    client.complete_multipart_upload(**where, MultipartUpload=parts)


@pytest.mark.parametrize("image_format", ["png", "webp", "jpg"])
def test_an_asset_holds_its_metadata(
    context: ActorContext, tmp_path: Path, image_format: str
) -> None:
    context.fingerprint = "tiny:1/cpu"
    item = item_of(tmp_path, GOOD["rotated"], image_format=image_format, quality=80)
    terms = {"license": "CC BY 4.0", "attribution": "A. Painter", "weight": 2.0}
    item = item.model_copy(update={"styles": [item.styles[0].model_copy(update=terms)]})
    picture = asset(context, restyle_item(context, item))
    note = json.loads(codec.read_note(Path(context.output.uri, item.asset_key).read_bytes()))
    assert (note["item_id"], note["engine"], note["seed"]) == (item.item_id, "tiny:1/cpu", 1)
    assert note["params"] == PARAMS.hashed()
    version = item.styles[0].image_version
    assert note["references"] == [{"style_id": "s", "image_version": version, **terms}]
    assert str(tmp_path) not in json.dumps(note)
    assert b"s, CC BY 4.0, A. Painter" in picture.info["xmp"]
    assert picture.info["icc_profile"]


def test_thumbnails_are_written_for_the_report(context: ActorContext, tmp_path: Path) -> None:
    large = pictures.encoded(pictures.noise(700, 300), "PNG")
    item = item_of(tmp_path, large)
    row = restyle_item(context, item)
    sizes = {}
    for version in (
        item.image_version,
        item.styles[0].image_version,
        f"sha256:{row.asset_sha256}",
    ):
        with Image.open(Path(context.output.uri, thumbnail_path(version))) as small:
            sizes[version] = small.size
    assert list(sizes.values()) == [(274, 640), (48, 64), (274, 640)]


@pytest.mark.parametrize("known", [False, True])
def test_a_photo_too_large_for_its_format_is_rejected_early(
    context: ActorContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    monkeypatch.setitem(codec._MOST_SIDE, "webp", 60)  # instead of 16,383
    prepared: list[object] = []
    if known:
        assert restyle_item(context, item_of(tmp_path, GOOD["rotated"])).status == "ok"
    monkeypatch.setattr(context.engine, "prepare", lambda *args: prepared.append(args))
    row = restyle_item(context, item_of(tmp_path, GOOD["rotated"], image_format="webp"))
    assert row.status == "rejected"
    assert row.error is not None
    assert row.error.message == (
        f"{tmp_path / 'photo.jpg'} is 48x64 px, and webp holds at most 60 px a side; choose png or "
        "jpg as the format of the results, or make the picture smaller."
    )
    assert not prepared


@pytest.mark.parametrize("colour", [(0, 0, 0, 0), (3, 3, 3, 255), (255, 255, 255, 255)])
def test_a_blank_reference_adds_a_warning(
    context: ActorContext, tmp_path: Path, colour: tuple[int, ...]
) -> None:
    item = item_of(tmp_path, GOOD["rotated"])
    clean = restyle_item(context, item)
    assert clean.warnings == []
    assert b'"blank_styles"' not in Path(context.output.uri, item.asset_key).read_bytes()
    blank = tmp_path / "blank.png"
    Image.new("RGBA", (64, 64), colour).save(blank)
    named = {"style_id": "b", "image_uri": str(blank), "image_version": at(blank).version()}
    styles = [item.styles[0].model_copy(update=named), *item.styles]
    item = item.model_copy(update={"styles": styles, "item_id": "cd" * 32})
    rows = [restyle_item(context, item), restyle_item(context, item, recover=True)]
    assert [(row.status, row.reused) for row in rows] == [("ok", False), ("ok", True)]
    (warning,) = rows[0].warnings
    assert warning.startswith("reference 'b' of gallery 'g' is ")
    assert rows[1].warnings == rows[0].warnings


def test_pins_decide_the_match(context: ActorContext, tmp_path: Path) -> None:
    pins = tmp_path / "pins.json"
    for text, status in (
        ('{"matches": [{"region": 0, "style_id": "s", "style_region": 0}]}', "ok"),
        ('{"matches": [{"region": 0, "style_id": "x", "style_region": 0}]}', "rejected"),
        ("{", "rejected"),
    ):
        pins.write_text(text)
        extra = {"routing_uri": str(pins), "routing_version": at(pins).version()}
        row = restyle_item(context, item_of(tmp_path, GOOD["rotated"], **extra))
        assert row.status == status
        if status == "ok":
            assert row.matches[0].pinned


def test_a_file_that_changed_since_the_plan_fails(context: ActorContext, tmp_path: Path) -> None:
    item = item_of(tmp_path, GOOD["rotated"])
    (tmp_path / "photo.jpg").write_bytes(GOOD["cmyk"])
    row = restyle_item(context, item)
    assert row.status == "failed"
    assert row.error is not None
    assert "changed after the run was planned" in row.error.message


def test_errors_of_the_store_are_transient(
    context: ActorContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("slow down", transient=True)

    monkeypatch.setattr(StoragePath, "write_bytes", refuse)
    row = restyle_item(context, item_of(tmp_path, GOOD["rotated"]))
    assert row.status == "failed"
    assert row.error is not None
    assert row.error.transient
    assert "slow down" in row.error.traceback


@pytest.mark.parametrize("image_format", ["png", "webp", "jpg"])
def test_an_existing_asset_is_recovered(
    context: ActorContext, tmp_path: Path, image_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = item_of(tmp_path, GOOD["rotated"], image_format=image_format)
    row = restyle_item(context, item)
    monkeypatch.setattr(StyleGallery, "sample_batch", None)
    again = restyle_item(context, item, recover=True)
    different = {"timings", "finished_at", "reused"}
    assert again.reused
    assert again.model_dump(exclude=different) == row.model_dump(exclude=different)


@pytest.mark.parametrize("harm", ["cut", "foreign", "no note", "no map"])
def test_a_damaged_asset_is_computed_again(
    context: ActorContext, tmp_path: Path, harm: str
) -> None:
    item = item_of(tmp_path, GOOD["rotated"])
    row = restyle_item(context, item)
    path = Path(context.output.uri, item.asset_key)
    good = path.read_bytes()
    if harm == "cut":
        path.write_bytes(good[:-200])
    elif harm == "foreign":
        note = codec.read_note(good).replace("ab" * 32, "cd" * 32)
        path.write_bytes(codec.encode(codec.decode(good, "x"), "png", note=note))
    elif harm == "no note":
        path.write_bytes(codec.encode(codec.decode(good, "x"), "png"))
    else:
        context.written.clear()
        context.cache.clear()
        assert row.regions_uri is not None
        Path(context.output.uri, row.regions_uri).unlink()
    again = restyle_item(context, item, recover=True)
    assert again.reused == (harm == "no map")  # the map is written again, the asset is not
    assert path.read_bytes() == good
    assert Path(context.output.uri, str(row.regions_uri)).exists()


def test_the_cache_keeps_to_its_budget(context: ActorContext, tmp_path: Path) -> None:
    held = load_content(context, item_of(tmp_path, GOOD["rotated"]))
    small = PreparedCache(budget=2 * held.image.nbytes)
    made = []
    for name in ("a", "b", "a", "c", "a", "b"):
        small.get(PreparedKey(name), lambda n=name: made.append(n) or held)  # type: ignore[func-returns-value]
    assert made == ["a", "b", "c", "b"]


def test_batches_do_not_change_results(context: ActorContext, tmp_path: Path) -> None:
    kinds = ["cmyk", "missing", "rotated", "16 bit"]
    items = []
    for number, kind in enumerate(kinds):
        home = tmp_path / kind
        home.mkdir()
        identity = {"item_id": f"{number}" * 64, "product_id": kind}
        items.append(item_of(home, {**GOOD, "missing": None}[kind], **identity))
    alone = [restyle_item(context, item) for item in items]
    before = [Path(context.output.uri, i.asset_key) for i in items]
    singles = [codec.decode(p.read_bytes(), "") if p.exists() else None for p in before]
    rows = [
        pending.finish() for pending in restyle_items(context, [Assignment(item) for item in items])
    ]
    assert [row.product_id for row in rows] == kinds
    assert [row.status for row in rows] == ["ok", "rejected", "ok", "ok"]
    for row, one, path, single in zip(rows, alone, before, singles, strict=True):
        assert row.matches == one.matches
        if single is not None:
            again = codec.decode(path.read_bytes(), "")
            assert (again.pixels - single.pixels).abs().max() < 2e-2
            assert (again.pixels - single.pixels).abs().mean() < 2e-3


@pytest.mark.parametrize(
    ("error", "left"), [(MemoryError("no room"), 1), (DidNotConverge("the loss is not finite"), 4)]
)
def test_a_batch_that_fails_is_split(
    context: ActorContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    left: int,
) -> None:
    """One of four items fails every batch; after an out-of-memory error batches stay small."""
    real, sizes = StyleGallery.sample_batch, []

    def spoilt(engine: StyleGallery, jobs: list[StyleJob], *rest: Any) -> list[RestyledLatent]:
        sizes.append(len(jobs))
        if any(job.seed == 2 for job in jobs):
            raise error
        return real(engine, jobs, *rest)

    monkeypatch.setattr(StyleGallery, "sample_batch", spoilt)
    items = [
        item_of(tmp_path, GOOD["rotated"], seed=seed, product_id=str(seed)) for seed in range(4)
    ]
    context.batch = 4
    rows = [
        pending.finish() for pending in restyle_items(context, [Assignment(item) for item in items])
    ]
    assert [row.status for row in rows] == ["ok", "ok", "failed", "ok"]
    assert rows[2].error is not None
    assert (rows[2].error.stage, rows[2].error.message) == ("stylize", str(error))
    assert sizes == [4, 2, 2, 1, 1]
    assert context.batch == left


def test_photos_are_prefetched_once(
    context: ActorContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = item_of(tmp_path, GOOD["rotated"])
    read, real = list[str](), StoragePath.read_version

    def noted(file: StoragePath, *most: int) -> tuple[bytes, str]:
        read.append(file.uri)
        return real(file, *most)

    monkeypatch.setattr(StoragePath, "read_version", noted)
    read_ahead(context, [item])
    assert restyle_item(context, item).status == "ok"
    assert read.count(item.image_uri) == 1
    read_ahead(context, [item])  # it is in the cache now
    assert restyle_item(context, item).status == "ok"
    assert read.count(item.image_uri) == 1
    missing = item_of(tmp_path, None, item_id="cd" * 32).model_copy(
        update={"image_uri": str(tmp_path / "nowhere.jpg"), "image_version": storage.MISSING}
    )
    read_ahead(context, [missing])
    assert restyle_item(context, missing).status == "rejected"


def test_items_of_one_chunk_take_the_methods_of_their_galleries(
    engine: StyleGallery, tmp_path: Path
) -> None:
    photo = pictures.encoded(chelsea()[:96, 100:180], "PNG")
    plain = item_of(tmp_path, photo)
    (style,) = plain.styles
    other = style.model_copy(update={"method": "styleid"})
    mixed = item_of(tmp_path, photo, item_id="cd" * 32, gallery_id="h", styles=[other])
    params = PARAMS.model_copy(update={"merge_threshold": 0.0})  # several regions
    context = ActorContext(engine, at(tmp_path / "out"), params, batch=2)
    rows = [
        item.finish() for item in restyle_items(context, [Assignment(plain), Assignment(mixed)])
    ]
    assert [row.method for row in rows] == [PARAMS.method, "styleid"]
    for row in rows:
        note = codec.read_note((context.output / str(row.asset_uri)).read_bytes())
        assert json.loads(note)["params"]["method"] == row.method
    assert restyle_item(context, mixed, recover=True).method == "styleid"
    assert [len(row.matches) > 1 for row in rows] == [True, False]
    alone = ActorContext(engine, at(tmp_path / "alone"), params)
    assert restyle_item(alone, mixed).asset_sha256 == rows[1].asset_sha256
