"""Everything that users may hand in by mistake or on purpose, and the words that each is owed."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from socket import AF_UNIX, socket
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from flows.cli.settings import from_assignments, from_environment, from_file, resolve
from flows.runtime.errors import UsageError, validation_message
from schemas.run import RestyleSpec
from schemas.work import WorkItem
from tasks import storage
from tasks.errors import ManifestError, PlanError, StorageError
from tasks.items.context import ActorContext
from tasks.manifests import builder, reader
from tasks.planning import versions
from tasks.storage import local
from tests.tasks import pictures
from tests.tasks.places import at
from tests.tasks.single_items import item_of, restyle_item

REJECTED = "rejected"
SECRET = "hush-hush"
"""No message may hold it."""


@dataclass(frozen=True)
class Scene:
    """Where bad input is handed in."""

    context: ActorContext
    folder: Path
    patch: pytest.MonkeyPatch


@dataclass(frozen=True)
class Kind:
    """One kind of bad input.

    Attributes:
        end: `rejected` for an item's row, else the class of the error.
        words: What its message must hold: where it is, and what to do.
        happen: Hands it in; returns the message of a row, or raises.
    """

    end: str | type[Exception]
    words: tuple[str, ...]
    happen: Callable[[Scene], str]


# --- Items: photo, reference, mask, protection, pins ----------------------------------------------

PHOTO = pictures.encoded(pictures.noise(), "PNG")


def _rejected(scene: Scene, data: bytes | None = PHOTO, **changes: Any) -> str:
    return _refused(scene, item_of(scene.folder, data, **changes))


def _refused(scene: Scene, item: WorkItem) -> str:
    row = restyle_item(scene.context, item)
    assert row.status == REJECTED, row.error
    assert row.error is not None
    assert not row.error.transient
    assert not row.error.traceback
    assert not list(scene.folder.rglob("out/assets/**/*.png"))
    return row.error.message


def photo(data: bytes | None, *words: str) -> Kind:
    """A photo."""
    return Kind(REJECTED, ("photo.jpg", *words), lambda scene: _rejected(scene, data))


def beside(role: str, data: bytes, *words: str) -> Kind:
    """A file beside a photo that is fine: `mask`, `protect` or `routing`."""

    def happen(scene: Scene) -> str:
        path = scene.folder / f"{role}.file"
        path.write_bytes(data)
        version = at(path).version()
        return _rejected(scene, **{f"{role}_uri": str(path), f"{role}_version": version})

    return Kind(REJECTED, words, happen)


def reference(data: bytes, *words: str) -> Kind:
    """The one reference of a gallery."""

    def happen(scene: Scene) -> str:
        item, path = item_of(scene.folder, PHOTO), scene.folder / "style.png"
        path.write_bytes(data)
        style = item.styles[0].model_copy(update={"image_version": at(path).version()})
        return _refused(scene, item.model_copy(update={"styles": [style]}))

    return Kind(REJECTED, ("reference 's' of gallery 'g'", *words), happen)


def unreadable(scene: Scene) -> str:
    """A photo that may not be read; root may read all, so the disk says so itself."""
    item, real = item_of(scene.folder, PHOTO), local.open_regular

    def opened(path: str) -> Any:
        if path.endswith("photo.jpg"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    scene.patch.setattr(local, "open_regular", opened)
    found = versions.source_versions([item.image_uri])[item.image_uri]
    return _refused(scene, item.model_copy(update={"image_version": found}))


def too_large(scene: Scene) -> str:
    """A sparse file: neither planning nor reading takes more of it than the limit."""
    scene.patch.setattr("tasks.items.context.MAX_IMAGE_BYTES", 2**20)
    path = scene.folder / "photo.jpg"
    with path.open("wb") as file:
        file.truncate(2**41)
    return _planned(scene, str(path))


def special(make: Callable[[Path], str]) -> Callable[[Scene], str]:
    """What `make` puts at a path, or another path that it returns."""
    return lambda scene: _planned(scene, make(scene.folder / "photo.jpg"))


def pipe(path: Path) -> str:
    os.mkfifo(path)
    return str(path)


def link_to_device(path: Path) -> str:
    path.symlink_to("/dev/zero")
    return str(path)


def socket_file(path: Path) -> str:
    with socket(AF_UNIX) as server, pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)  # names of sockets are short
        server.bind(path.name)
    return str(path)


def _planned(scene: Scene, uri: str) -> str:
    """Plan what is there already, as planning does, and have an actor read it."""
    found = versions.source_versions([uri])[uri]
    other = scene.folder / "other"
    other.mkdir()
    changes = {"image_uri": uri, "image_version": found}
    return _refused(scene, item_of(other, PHOTO).model_copy(update=changes))


# --- Manifests --------------------------------------------------------------------------------

CATALOG = {"product_id": ["a", "b"], "image_uri": ["a.jpg", "b.jpg"]}
GALLERY = {"gallery_id": ["g", "g"], "style_id": ["1", "2"], "image_uri": ["1.png", "2.png"]}


def _read_catalog(path: Path) -> str:
    return str(list(reader.read_catalog(str(path), strict=True)))


def catalog(*words: str, **columns: Any) -> Kind:
    """A catalog with some columns changed; None leaves one out."""

    def happen(scene: Scene) -> str:
        return _read_catalog(write(scene.folder / "c.parquet", CATALOG, columns))

    return Kind(ManifestError, ("c.parquet", *words), happen)


def gallery(*words: str, **columns: Any) -> Kind:
    """A gallery manifest with some columns changed."""

    def happen(scene: Scene) -> str:
        path = write(scene.folder / "g.parquet", GALLERY, columns)
        found = reader.read_galleries([str(path)], strict=True)
        reader.check_licenses(found, str(path), datetime.now(UTC).date())
        return str(found)

    return Kind(ManifestError, ("g.parquet", *words), happen)


def catalog_bytes(data: bytes | None, *words: str) -> Kind:
    """A catalog's file."""

    def happen(scene: Scene) -> str:
        path = scene.folder / "c.parquet"
        if data is not None:
            path.write_bytes(data)
        return _read_catalog(path)

    return Kind(ManifestError, ("c.parquet", *words), happen)


def text(name: str, content: str | bytes, *words: str) -> Kind:
    """A CSV or JSON Lines file that is to become a catalog."""

    def happen(scene: Scene) -> str:
        path = scene.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(builder.build_catalog(str(path), strict=True))

    return Kind(ManifestError, (name, *words), happen)


def write(path: Path, good: dict[str, Any], columns: dict[str, Any]) -> Path:
    """Write a manifest with some columns changed; None leaves one out."""
    table = {name: values for name, values in {**good, **columns}.items() if values is not None}
    pq.write_table(pa.table(table), path)
    return path


def twice_the_column(scene: Scene) -> str:
    """A catalog with two columns of one name."""
    arrays = [pa.array(["a"]), pa.array(["a.jpg"]), pa.array(["b.jpg"])]
    table = pa.Table.from_arrays(arrays, names=["product_id", "image_uri", "image_uri"])
    pq.write_table(table, scene.folder / "c.parquet")
    return _read_catalog(scene.folder / "c.parquet")


def unknown_gallery(scene: Scene) -> str:
    """A catalog that names a gallery which is nowhere."""
    path = write(scene.folder / "c.parquet", CATALOG, {"galleries": [["g"], ["\x1b[31m"]]})
    found = reader.read_galleries([str(write(scene.folder / "g.parquet", GALLERY, {}))])
    photos = reader.read_catalog(str(path))
    return str(list(reader.check_gallery_names(photos, found)))


def bomb(scene: Scene) -> str:
    """A catalog of some kilobytes whose every row has the same megabytes of text."""
    texts = pa.DictionaryArray.from_arrays(np.zeros(5_000, np.int32), ["x" * 10_000_000])
    names = [f"p{i}" for i in range(5_000)]
    columns = {"product_id": names, "image_uri": names, "story": texts}
    path = scene.folder / "c.parquet"
    pq.write_table(pa.table(columns), path, compression="zstd")
    assert path.stat().st_size < 2**20
    return _read_catalog(path)


def good_parquet() -> bytes:
    """A catalog that is fine."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(CATALOG), sink)
    return bytes(sink.getvalue())


# --- URIs ---------------------------------------------------------------------------------------


def uri(value: str, *words: str) -> Kind:
    """A URI in the second row of a catalog."""
    return catalog("column `image_uri`, row 2", *words, image_uri=["a.jpg", value])


def place(value: str, *words: str) -> Kind:
    """A URI of a manifest or an output."""
    return Kind(StorageError, words, lambda _: storage.absolute(value))


def other_spelling(name: str, *words: str) -> Kind:
    """A photo whose path nothing has, and that another system would write so."""

    def happen(scene: Scene) -> str:
        changes = {"image_uri": str(scene.folder / name), "image_version": storage.MISSING}
        return _rejected(scene, None, **changes)

    return Kind(REJECTED, (name, *words, "check image_uri"), happen)


def folder(scene: Scene) -> str:
    """A folder where a photo should be."""
    (scene.folder / "photo.jpg").mkdir()
    return _rejected(scene, None)


# --- Parameters -----------------------------------------------------------------------------------

PLACES = {"catalog": "c.parquet", "galleries": ["g.parquet"], "output": "out"}


def flag(word: str, *words: str) -> Kind:
    """A `--set` word."""
    return Kind(UsageError, words, lambda _: str(resolve(PLACES, from_assignments([word]))))


def variable(name: str, value: str, *words: str) -> Kind:
    """An environment variable."""
    return Kind(UsageError, words, lambda _: str(resolve(PLACES, from_environment({name: value}))))


def toml(content: str | bytes, *words: str) -> Kind:
    """A configuration file."""

    def happen(scene: Scene) -> str:
        path = scene.folder / "run.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(resolve(PLACES, from_file(path)))

    return Kind(UsageError, words, happen)


def form(content: str | dict[str, Any], *words: str) -> Kind:
    """What a form or a deployment hands to the flow, as JSON."""
    given = content if isinstance(content, str) else json.dumps({**PLACES, **content})

    def happen(_: Scene) -> str:
        try:
            return str(RestyleSpec.model_validate_json(given))
        except ValidationError as error:
            raise UsageError(validation_message(error)) from error

    return Kind(UsageError, words, happen)


def plan(settings: dict[str, Any], *words: str) -> Kind:
    """Settings that are fine one by one."""
    return Kind(PlanError, words, lambda _: versions.device_class(resolve(PLACES, settings)))


# --- Pictures -------------------------------------------------------------------------------------


def wrong_checksum() -> bytes:
    """A PNG whose pixels do not match their checksum."""
    at = PHOTO.index(b"IDAT") + 20
    return PHOTO[:at] + bytes([PHOTO[at] ^ 255]) + PHOTO[at + 1 :]


def not_numbers() -> bytes:
    """A TIFF of floats, one of which is NaN."""
    pixels = pictures.noise()[..., 0].astype(np.float32) / 255
    pixels[3, 4] = np.nan
    return pictures.encoded(pixels, "TIFF")
