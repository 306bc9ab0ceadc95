"""What can go wrong around the engine. Each message is one sentence that names the remedy."""


class TaskError(Exception):
    """Base of all errors that the batch work raises on purpose; its text is meant for people."""


class StorageError(TaskError):
    """A file or object cannot be reached.

    Attributes:
        transient: True when another attempt may succeed (time-outs, throttling, lost connections).
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class FileMissing(StorageError):
    """There is nothing at a URI."""


class AlreadyThere(StorageError):
    """There is something at a URI that was to be new."""


class AccessDenied(StorageError):
    """There may be something at a URI, but we may not read or write it."""


class DiskFull(StorageError):
    """There is no room left where something is to be written."""


class NotAFile(StorageError):
    """What is at a path is a device, a pipe or the like."""


class FileTooLarge(StorageError):
    """A file is larger than its reader allows."""


class ManifestError(TaskError):
    """A manifest breaks its schema.

    Attributes:
        uri: The manifest.
        column: The column at fault, or None for the file as a whole.
        row: Number of the row at fault, counted from 1, or None.
        rule: What is wrong and what to do.
    """

    def __init__(self, uri: str, column: str | None, row: int | None, rule: str) -> None:
        place = [f"column `{column}`"] if column else []
        place += [f"row {row}"] if row is not None else []
        super().__init__(f"{uri}: {', '.join(place)}{': ' if place else ''}{rule}")
        self.uri, self.column, self.row, self.rule = uri, column, row, rule

    def __reduce__(self) -> tuple[type["ManifestError"], tuple[str, str | None, int | None, str]]:
        """Let the error travel between processes."""
        return type(self), (self.uri, self.column, self.row, self.rule)


class PlanError(TaskError):
    """The parameters of a run contradict each other or the machine."""


class RecordError(TaskError):
    """A table or record that an earlier run left is damaged or belongs to another run."""


class PoolError(TaskError):
    """The engines cannot run at all, so no item is to blame."""


class IncompleteRunError(TaskError):
    """Items of the plan have no result yet, so the run cannot be closed."""
