"""How a learnt style compares with the method that learns nothing, on a few photos of a run."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Final, Literal

from pydantic import Field

from schemas.base import Row
from schemas.text import counted

StudentCheck = Literal["off", "warn", "strict"]

COMPARED: Final = ("gram_ratio", "ssim", "edge_agreement", "hfrd")
"""Metrics of :class:`schemas.evaluation.ItemMetrics` that are compared."""
_BEHIND: Final = {"gram_ratio": 0.08, "hfrd": 0.05}
"""How far the learnt style may be above the teacher; lower values are closer to the references."""
_EDGES: Final = 0.4
"""Least mean edge agreement of the learnt style."""


class StudentRow(Row):
    """One photo in one gallery, restyled with the learnt style (student) and without (teacher).

    The teacher is method `stylegallery` with preset `preview`.
    """

    gallery_id: str = Field(description="Id of the gallery.")
    product_id: str = Field(description="Id of the product.")
    view: str = Field(description="Which photo of the product.")
    student_gram_ratio: float = Field(description="`gram_ratio` with the learnt style.")
    teacher_gram_ratio: float = Field(description="`gram_ratio` of the teacher.")
    student_ssim: float = Field(description="`ssim` with the learnt style.")
    teacher_ssim: float = Field(description="`ssim` of the teacher.")
    student_edge_agreement: float = Field(description="`edge_agreement` with the learnt style.")
    teacher_edge_agreement: float = Field(description="`edge_agreement` of the teacher.")
    student_hfrd: float = Field(description="`hfrd` with the learnt style.")
    teacher_hfrd: float = Field(description="`hfrd` of the teacher.")


@dataclass(frozen=True)
class StudentComparison:
    """The comparison of a gallery: means over its photos.

    Attributes:
        gallery_id: The gallery.
        photos: Number of photos.
        student: Mean of each metric with the learnt style.
        teacher: Mean of each metric of the teacher.
        shortcomings: Where the learnt style is too far behind; empty if it is good enough.
    """

    gallery_id: str
    photos: int
    student: dict[str, float]
    teacher: dict[str, float]
    shortcomings: tuple[str, ...]

    def warning(self) -> str:
        """Return the shortcomings in a sentence without its period."""
        return (
            f"the learnt style of gallery {self.gallery_id!r} is behind method stylegallery on "
            f"{counted(self.photos, 'photo')} ({'; '.join(self.shortcomings)}); raise "
            "adapter_steps or passes, or use another method for it"
        )


def compare_students(rows: Iterable[StudentRow]) -> list[StudentComparison]:
    """Return the comparison of each gallery, sorted by gallery."""
    galleries = defaultdict[str, list[StudentRow]](list)
    for row in rows:
        galleries[row.gallery_id].append(row)
    found = []
    for gallery_id, some in sorted(galleries.items()):
        student, teacher = (
            {name: fmean(getattr(row, f"{who}_{name}") for row in some) for name in COMPARED}
            for who in ("student", "teacher")
        )
        flaws = tuple(_shortcomings(student, teacher))
        found.append(StudentComparison(gallery_id, len(some), student, teacher, flaws))
    return found


def _shortcomings(student: dict[str, float], teacher: dict[str, float]) -> Iterator[str]:
    for name, most in _BEHIND.items():
        if student[name] > teacher[name] + most:
            yield f"{name} {student[name]:.2f} against {teacher[name]:.2f}"
    if student["edge_agreement"] < _EDGES:
        yield f"edge_agreement {student['edge_agreement']:.2f}, less than {_EDGES}"
