"""schemas/README.md is made from the schemas."""

from schemas.document import MODELS, field_groups, markdown
from schemas.params import SETTINGS
from tests.documents import ROOT


def test_the_page_is_the_one_that_the_schemas_make() -> None:
    assert (ROOT / "schemas/README.md").read_text() == markdown(), (
        "run `python -m schemas.document > schemas/README.md`"
    )


def test_every_field_has_a_type_and_a_description() -> None:
    for name, model in MODELS.items():
        for row in (row for group in field_groups(model) for row in group.rows):
            assert row.type, (name, row)
            assert row.description, (name, row)


def test_style_parameters_are_in_the_tables_of_their_groups() -> None:
    first, *groups = field_groups(MODELS["params"])
    assert [row.name for group in (first, *groups) for row in group.rows] == list(SETTINGS)
    page = markdown()
    for group in groups:
        assert f"### {group.title} (`{group.name}`)\n\n{group.description}\n" in page
