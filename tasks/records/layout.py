"""The layout of an output: names of all files and folders below its root."""

from dataclasses import dataclass

from tasks.storage import StoragePath

LATEST = "catalog/LATEST.json"
FOLDERS = ("assets", "catalog", "prepared", "previews", "regions", "runs", "thumbnails")
"""Folders directly below an output root."""


@dataclass(frozen=True)
class RunFiles:
    """The paths of one run's files.

    Attributes:
        output: The output root.
        run_id: Id of the run.
    """

    output: StoragePath
    run_id: str

    def _at(self, path: str) -> StoragePath:
        return self.output / f"runs/{self.run_id}/{path}"

    @property
    def record(self) -> StoragePath:
        """The run record (JSON): parameters, versions, counts, state."""
        return self._at("run.json")

    @property
    def lock(self) -> StoragePath:
        """The lock file; exists while a driver works on the run."""
        return self._at("lock.json")

    @property
    def lock_probe(self) -> StoragePath:
        """Temporary file that tests whether the store supports conditional writes."""
        return self._at("lock-probe.json")

    @property
    def plan(self) -> StoragePath:
        """Folder of the plan's parts, with one row per item."""
        return self._at("plan")

    @property
    def plan_styles(self) -> StoragePath:
        """Folder of the galleries' references; readers of `plan` skip names that begin with `_`."""
        return self._at("plan/_galleries")

    @property
    def ledger(self) -> StoragePath:
        """Folder of the ledger's append-only parts."""
        return self._at("ledger")

    @property
    def results(self) -> StoragePath:
        """Folder of the results, with one row per item; parts have the names of the plan's."""
        return self._at("results")

    @property
    def matches(self) -> StoragePath:
        """Folder of the matches, with one row per item and content region; same part names."""
        return self._at("matches")

    @property
    def students(self) -> StoragePath:
        """Comparison of the learnt styles, if the run asked for it."""
        return self._at("students.parquet")

    @property
    def evaluation(self) -> StoragePath:
        """Folder of the metrics per item, if the run was evaluated; same part names."""
        return self._at("evaluation")

    @property
    def evaluation_summary(self) -> StoragePath:
        """Summary of the metrics (JSON)."""
        return self._at("evaluation/summary.json")

    @property
    def retry(self) -> StoragePath:
        """Catalog of the failed items, for another run; exists only if items failed."""
        return self._at("retry.parquet")

    @property
    def report(self) -> StoragePath:
        """The HTML report."""
        return self._at("report/index.html")

    @property
    def success(self) -> StoragePath:
        """The success marker, written last."""
        return self._at("_SUCCESS")
