"""Rows of items for tests of records and results."""

from schemas.result import ItemResult
from tests.tasks.actors import a_match, passing_fault


def row(status: str = "ok", product: str = "p", attempts: int = 1) -> ItemResult:
    error = None if status == "ok" else passing_fault()
    return ItemResult.model_validate(
        {
            "item_id": "ab",
            "product_id": product,
            "view": "main",
            "gallery_id": "g",
            "status": status,
            "attempts": attempts,
            "run_id": "run-1",
            "matches": [a_match()] * 2 if status == "ok" else [],
            "style_regions": {"sky": "regions/x.png"},
            "timings": {"total": 1.5},
            "extra": {"season": "ss26"},
            "error": error,
        }
    )
