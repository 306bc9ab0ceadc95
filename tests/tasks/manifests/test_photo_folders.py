"""Which files of a folder are listed, and the notes about the others."""

import os
from pathlib import Path

import pytest

from tasks.errors import ManifestError
from tasks.manifests.photo_folders import find_photos
from tasks.storage.policy import ROOTS_VARIABLE
from tests.s3_server import S3Server
from tests.sentences import violation
from tests.tasks.places import at

OUTPUT = ("assets/g/p/main-0123.png", "regions/0123.png", "runs/run-0123456789ab/run.json")


def touch(folder: Path, *names: str | bytes) -> Path:
    for name in names:
        path = Path(os.fsdecode(bytes(folder) + b"/" + os.fsencode(name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def listed(folder: Path | str) -> tuple[list[str], str]:
    """Return the listed images, and the notes about other files."""
    found = find_photos(str(folder))
    for note in found.notes():
        assert not violation(note)
    return list(found.images), "\n".join(found.notes())


def test_images_are_listed_and_other_files_reported(tmp_path: Path) -> None:
    images = ["a.jpg", "b.jfif", "c.JPE", "d/e.pjpeg", "f.AVIF"]
    others = ["g.heic", "h.CR2", "i.svg", "notes.txt", "j", "empty/notes.txt", "empty/in/k.psd"]
    hidden = [".thumbs/l.jpg", "._a.jpg", ".DS_Store"]
    assert listed(touch(tmp_path, *images, *others, *hidden)) == (
        images,
        "left out: 4 pictures of unsupported formats (empty/in/k.psd, g.heic, h.CR2 and 1 "
        "more); export as JPEG or PNG\n"
        "left out: 1 folder without an image (empty)\n"
        "left out: 2 hidden images or folders (._a.jpg, .thumbs/); rename without the "
        "leading dot to include it\n"
        "left out: 3 files that are not images (empty/notes.txt, j, notes.txt)",
    )


def test_links_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / "real", "a.png", "deep/b.png")
    home = touch(tmp_path / "photos", "c.png", "sub/d.png")
    for name, target in {
        "linked": "../real",
        "again": "../real",
        "inner": "sub",
        "up": "..",
        "self": ".",
        "file.png": "c.png",
        "gone.png": "none.png",
        "circle": "circle",
    }.items():
        (home / name).symlink_to(target)
    (home / "sub" / "back").symlink_to("..")
    os.mkfifo(home / "pipe.png")
    images, said = listed(home)
    assert images == ["again/a.png", "again/deep/b.png", "c.png", "file.png", "sub/d.png"]
    assert "left out: 5 linked folders (inner, linked, self and 2 more); leads to" in said
    assert "left out: 2 broken links (circle, gone.png); leads to nothing" in said
    assert "left out: 1 file that is not an image (pipe.png)" in said
    assert listed(home) == (images, said)


def test_links_out_of_the_allowed_folders_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "secret", "a.png")
    home = touch(tmp_path / "photos", "b.png")
    (home / "linked").symlink_to("../secret")
    (home / "c.png").symlink_to("../secret/a.png")
    monkeypatch.setenv(ROOTS_VARIABLE, str(home))
    images, said = listed(home)
    assert images == ["b.png"]
    assert said.startswith("left out: 2 images or linked folders (c.png, linked); lies outside")


def test_unreadable_folders_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.png", "locked/b.png")
    real = os.scandir

    def refuse(path: str) -> object:  # root may read everything
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    images, said = listed(tmp_path)
    assert images == ["a.png"]
    assert said == "left out: 1 unreadable folder (locked); change permissions"


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"a\nb.png", b"\x1b[2J.png", "\u202e.png"])
def test_names_that_are_not_utf8_are_listed(tmp_path: Path, name: str | bytes) -> None:
    touch(tmp_path, "ok.png", name)
    found = find_photos(str(tmp_path))
    assert len(found.images) == 2
    for uri in found.images.values():
        assert at(uri).read_bytes() == b"x"


@pytest.mark.parametrize("root", ["restyled/", "deep/er/", ""])
def test_outputs_are_left_out(tmp_path: Path, root: str, s3_env: S3Server) -> None:
    names = [*(f"{root}{name}" for name in OUTPUT), "a.png", "runs/b.png", f"{root}inputs/c.png"]
    for place in (str(tmp_path), s3_env.uri(f"photos/{tmp_path.name}")):
        for name in names:
            (at(place) / name).write_bytes(b"x")
        images, said = listed(place)
        beside = [] if not root else ["runs/b.png"]
        assert images == sorted(["a.png", *beside, f"{root}inputs/c.png"])
        assert said == (
            f"left out: 1 output of StyleGallery ({root.rstrip('/') or '.'}); to restyle results, "
            "give a folder below its assets"
        )
    assert listed(tmp_path / root / "assets" / "g")[0] == ["p/main-0123.png"]


def test_folders_with_names_of_an_output_are_listed(tmp_path: Path) -> None:
    names = ["assets/a.png", "catalog/b.png", "runs/marathon/c.png", "runs/run-1/d.png"]
    assert listed(touch(tmp_path, *names)) == (names, "")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none", "not found; check the path"),
        ("file.png", "is a file; give its folder"),
        ("texts", "contains no images"),
        ("phone", "left out: 2 pictures of unsupported formats (a.heic, b.heic); export"),
        ("restyled", "1 output of StyleGallery (.); to restyle results, give a folder below"),
    ],
)
def test_a_folder_without_images_is_refused(tmp_path: Path, name: str, words: str) -> None:
    touch(tmp_path, "file.png", "texts/a.txt", "phone/a.heic", "phone/b.heic")
    touch(tmp_path / "restyled", *OUTPUT)
    with pytest.raises(ManifestError) as caught:
        find_photos(str(tmp_path / name))
    assert words in str(caught.value)
    assert not violation(str(caught.value), str(tmp_path))


def test_keys_are_not_normalized(moto_bucket: str) -> None:
    names = ["/a.png", "b.png", "dots/../c.png", "dots/./d.png", "v?versionId=1.png", "x//y.png"]
    others = ["ctl\x01.png", "sub/", "notes.txt", ".hidden/z.png", "trail.png/"]
    for name in (*names, *(name for name in others if "\x01" not in name)):
        data = b"" if name == "sub/" else name.encode()
        (at(moto_bucket) / name).write_bytes(data)
    _put(f"{moto_bucket}/{others[0]}")
    images, said = listed(moto_bucket)
    assert images == names
    for name, uri in find_photos(f"{moto_bucket}/").images.items():
        assert uri == f"{moto_bucket}/{name}"
        assert at(uri).read_bytes() == name.encode()
    assert "1 image with a name that no URI can express (ctl%01.png); rename" in said
    assert "2 folders without an image (sub, trail.png)" in said
    assert "1 hidden image or folder (.hidden/)" in said
    assert "2 files that are not images (notes.txt, trail.png/)" in said
    with pytest.raises(ManifestError, match="not found; check the path"):
        find_photos("s3://no-such-bucket")


def _put(uri: str) -> None:
    import boto3

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    client.put_object(Bucket=bucket, Key=key, Body=b"x")
