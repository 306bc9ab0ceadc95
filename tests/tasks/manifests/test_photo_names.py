"""Ids from the paths of images."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.manifest import CatalogRow
from tasks.manifests.photo_names import name_galleries_and_styles, name_products_and_views

PATHS = st.lists(st.text("ab-/.\\1\u00e9e\u0301:\x01", min_size=1, max_size=8), unique=True)


@pytest.mark.parametrize(
    ("path", "product", "view"),
    [
        ("shirt.png", "shirt", "main"),
        ("dress/front.png", "dress", "front"),
        ("summer/dress/front.png", "summer-dress", "front"),
        ("red:1.png", "red:1", "main"),
        ("dress::blue/a b.png", "dress::blue", "a b"),
        ("..a.png", "..a", "main"),
        ("dots/../b.png", "dots-..", "b"),
        ("../b.png", "--", "b"),
        ("/rooted.png", "rooted", "main"),
        ("x//y.png", "x", "y"),
        ("back\\slash.png", "back-slash", "main"),
        (os.fsdecode(b"caf\xe9/\xe9.png"), "caf%E9", "%E9"),
        ("a\nb.png", "a%0Ab", "main"),
    ],
)
def test_a_folder_is_a_product_and_its_photos_are_views(path: str, product: str, view: str) -> None:
    ids = name_products_and_views([path])
    assert ids.by_path == {path: (product, view)}
    assert ids.renamed == []


def test_a_second_view_keeps_the_id_of_the_first() -> None:
    one = name_products_and_views(["dress/front.png"]).by_path
    assert (
        one.items() < name_products_and_views(["dress/back.png", "dress/front.png"]).by_path.items()
    )


def test_a_photo_next_to_a_folder_of_its_name_is_a_view_of_it() -> None:
    assert name_products_and_views(["dress.png", "dress/back.png"]).by_path == {
        "dress.png": ("dress", "main"),
        "dress/back.png": ("dress", "back"),
    }
    ids = name_products_and_views(["dress.png", "dress/main.png"])
    assert ids.by_path["dress/main.png"] == ("dress-2", "main")
    assert ids.renamed == ["dress/main.png"]


def test_equal_stems_get_different_ids() -> None:
    paths = ["a-b.png", "a-b/x.png", "a/b/x.png", "c.jpg", "c.png", "d/v.JPG", "d/v.png", "e.png"]
    ids = name_products_and_views(paths)
    assert [ids.by_path[path] for path in paths] == [
        ("a-b", "main"),
        ("a-b", "x"),
        ("a-b-2", "x"),
        ("c-jpg", "main"),
        ("c-png", "main"),
        ("d", "v-jpg"),
        ("d", "v-png"),
        ("e", "main"),
    ]
    assert ids.renamed == ["c.jpg", "c.png", "a/b/x.png", "d/v.JPG", "d/v.png"]


def test_nfc_and_nfd_names_are_two_products() -> None:
    assert len(set(name_products_and_views(["\u00e9.png", "e\u0301.png"]).by_path.values())) == 2


def test_equal_gallery_names_get_different_ids() -> None:
    paths = ["kilim.png", "kilim/1.png", "a\\b/1.png", "a-b/1.png", "Monet/late/2.jpg"]
    ids = name_galleries_and_styles(paths, "kilim")
    assert ids.by_path == {
        "kilim.png": ("kilim-2", "kilim"),
        "kilim/1.png": ("kilim", "1"),
        "a\\b/1.png": ("a-b-2", "1"),
        "a-b/1.png": ("a-b", "1"),
        "Monet/late/2.jpg": ("Monet", "late-2"),
    }
    assert sorted(ids.renamed) == ["a\\b/1.png", "kilim.png"]


@given(PATHS)
def test_ids_are_valid_and_unique(paths: list[str]) -> None:
    paths = [f"{path}x.png" for path in paths]
    for ids in (name_products_and_views(paths), name_galleries_and_styles(paths, "own")):
        assert list(ids.by_path) and set(ids.by_path) == set(paths) if paths else not ids.by_path
        assert len(set(ids.by_path.values())) == len(paths)
        for outer, inner in ids.by_path.values():
            CatalogRow(product_id=outer, view=inner, image_uri="x")
