"""A gallery: the rows of its references, and the method and preset that they name."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from schemas.gallery_params import gallery_params
from schemas.manifest import GalleryRow
from schemas.params import StyleParams
from tasks.errors import ManifestError

_SETTINGS: Final = ("method", "preset")
"""Columns that are the same for a whole gallery: one row names them, or all alike."""


@dataclass(frozen=True)
class _Named:
    """A setting that a row names."""

    value: Any
    uri: str
    row: int


@dataclass
class Gallery:
    """The references of a gallery.

    Attributes:
        rows: The valid rows, sorted by style_id.
        problems: The problems of invalid rows. A gallery with any cannot be used, because its
            style would differ without one of its references.
    """

    rows: list[GalleryRow] = field(default_factory=list)
    problems: list[ManifestError] = field(default_factory=list)
    _named: dict[str, _Named] = field(default_factory=dict)

    @property
    def problem(self) -> ManifestError | None:
        """The first problem; None if the gallery can be used."""
        return self.problems[0] if self.problems else None

    def add(self, row: GalleryRow, uri: str, number: int) -> None:
        """Add a valid row, and its problem if it names another method or preset than earlier ones.

        Args:
            row: The row.
            uri: URI of its file.
            number: Number of the row in that file, from 1.
        """
        self.rows.append(row)
        for column in _SETTINGS:
            value = getattr(row, column)
            if value is None:
                continue
            first = self._named.setdefault(column, _Named(value, uri, number))
            if first.value != value:
                where = f"row {first.row}" + ("" if first.uri == uri else f" of {first.uri}")
                rule = f"is {value!r}, but {first.value!r} in {where} of the same gallery; use one "
                rule += f"{column} for all rows of a gallery"
                self.problems.append(ManifestError(uri, column, number, rule))

    def complete(self) -> None:
        """Sort the rows, and write the gallery's method and preset into all of them."""
        named = {column: found.value for column, found in self._named.items()}
        rows = [row.model_copy(update=named) for row in self.rows] if named else self.rows
        self.rows = sorted(rows, key=lambda row: row.style_id)

    def check_settings(self, run: StyleParams) -> None:
        """Refuse all rows if the gallery's method and preset do not go with a run's parameters."""
        if not self._named:
            return
        values = [found.value if (found := self._named.get(c)) else None for c in _SETTINGS]
        try:
            gallery_params(run, *values)
        except ValidationError as error:
            column, named = next(iter(self._named.items()))
            reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            rule = f"{named.value!r} does not go with the other settings: {reason}"
            self.problems.append(ManifestError(named.uri, column, named.row, rule))
            self.rows.clear()


Galleries = dict[str, Gallery]
"""gallery_id to gallery, sorted by gallery_id."""


def check_settings(galleries: Iterable[Gallery], run: StyleParams, *, strict: bool = False) -> None:
    """Check the methods and presets of galleries against a run's parameters.

    Raises:
        ManifestError: `strict` is set, and those of a gallery do not go with them.
    """
    for gallery in galleries:
        before = len(gallery.problems)
        gallery.check_settings(run)
        if strict and len(gallery.problems) > before:
            raise gallery.problems[-1]
