"""The table of a run that compares its learnt styles with the method that learns nothing."""

from schemas.students import StudentComparison, StudentRow, compare_students
from tasks.errors import FileMissing, RecordError
from tasks.records import parquet
from tasks.records.layout import RunFiles


def read_students(files: RunFiles) -> list[StudentRow]:
    """Return the compared photos of a run; none without a table or with a damaged one.

    Raises:
        StorageError: the table cannot be read.
    """
    try:
        return parquet.read_rows(files.students, StudentRow)
    except (FileMissing, RecordError):
        return []  # the next attempt compares again


def read_comparisons(files: RunFiles) -> list[StudentComparison]:
    """Return the comparison of each gallery of a run.

    Raises:
        StorageError: the table cannot be read.
    """
    return compare_students(read_students(files))


def student_warnings(files: RunFiles) -> set[str]:
    """Return a warning for each gallery whose learnt style is too far behind.

    Raises:
        StorageError: the table cannot be read.
    """
    return {one.warning() for one in read_comparisons(files) if one.shortcomings}
