"""schemas/README.md is made from the schemas."""

from schemas.document import MODELS, field_rows, markdown
from tests.documents import ROOT


def test_the_page_is_the_one_that_the_schemas_make() -> None:
    assert (ROOT / "schemas/README.md").read_text() == markdown(), (
        "run `python -m schemas.document > schemas/README.md`"
    )


def test_every_field_has_a_type_and_a_description() -> None:
    for name, model in MODELS.items():
        for row in field_rows(model):
            assert row.type, (name, row)
            assert row.description, (name, row)
