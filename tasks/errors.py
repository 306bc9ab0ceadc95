"""Exceptions of the batch pipeline. Each message is one sentence that names the remedy."""


class TaskError(Exception):
    """Base class of errors whose message is meant for the user."""


class StorageError(TaskError):
    """A file or object cannot be read or written.

    Attributes:
        transient: True when another attempt may succeed (time-out, throttling, lost connection).
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class FileMissing(StorageError):
    """No file exists at a URI."""


class AlreadyExists(StorageError):
    """A file that was to be created exists already."""


class AccessDenied(StorageError):
    """Permission to read or write a file is missing."""


class DiskFull(StorageError):
    """The disk or quota is full."""


class NotAFile(StorageError):
    """A path names a device, a pipe or a socket instead of a regular file."""


class FileTooLarge(StorageError):
    """A file is larger than the limit of its reader."""


class ManifestError(TaskError):
    """A manifest breaks a rule.

    Attributes:
        uri: URI of the manifest.
        column: The column, or None if the rule concerns the whole file.
        row: Number of the row, from 1, or None.
        rule: What is wrong and what to do.
    """

    def __init__(self, uri: str, column: str | None, row: int | None, rule: str) -> None:
        place = [f"column `{column}`"] if column else []
        place += [f"row {row}"] if row is not None else []
        super().__init__(f"{uri}: {', '.join(place)}{': ' if place else ''}{rule}")
        self.uri, self.column, self.row, self.rule = uri, column, row, rule

    def __reduce__(self) -> tuple[type["ManifestError"], tuple[str, str | None, int | None, str]]:
        """Support pickling, so that Ray can pass the error between processes."""
        return type(self), (self.uri, self.column, self.row, self.rule)


class PlanError(TaskError):
    """The parameters of a run contradict each other, or do not fit the machine."""


class RecordError(TaskError):
    """A table or record of an earlier run is damaged or belongs to another run."""


class PoolError(TaskError):
    """No engine can run, whatever the item."""


class LearningError(TaskError):
    """A style could not be learnt because of an error of ours."""


class IncompleteRunError(TaskError):
    """The run cannot be finalized because items of the plan have no result yet."""
