"""The layout of an output: names of all files and folders below its root."""

from dataclasses import dataclass

from tasks import storage

LATEST = "catalog/LATEST.json"
FOLDERS = ("assets", "catalog", "prepared", "previews", "regions", "runs", "thumbnails")
"""Folders directly below an output root."""


@dataclass(frozen=True)
class RunFiles:
    """URIs of one run's files.

    Attributes:
        output: Absolute URI of the output root.
        run_id: Id of the run.
    """

    output: str
    run_id: str

    def _at(self, *parts: str) -> str:
        return storage.join(self.output, "runs", self.run_id, *parts)

    @property
    def record(self) -> str:
        """The run record (JSON): parameters, versions, counts, state."""
        return self._at("run.json")

    @property
    def lock(self) -> str:
        """The lock file; exists while a driver works on the run."""
        return self._at("lock.json")

    @property
    def lock_probe(self) -> str:
        """Temporary file that tests whether the store supports conditional writes."""
        return self._at("lock-probe.json")

    @property
    def plan(self) -> str:
        """Folder of the plan's parts, with one row per item."""
        return self._at("plan")

    @property
    def plan_styles(self) -> str:
        """Folder of the galleries' references; readers of `plan` skip names that begin with `_`."""
        return self._at("plan", "_galleries")

    @property
    def ledger(self) -> str:
        """Folder of the ledger's append-only parts."""
        return self._at("ledger")

    @property
    def results(self) -> str:
        """Folder of the results, with one row per item; parts have the names of the plan's."""
        return self._at("results")

    @property
    def matches(self) -> str:
        """Folder of the matches, with one row per item and content region; same part names."""
        return self._at("matches")

    @property
    def evaluation(self) -> str:
        """Folder of the metrics per item, if the run was evaluated; same part names."""
        return self._at("evaluation")

    @property
    def evaluation_summary(self) -> str:
        """Summary of the metrics (JSON)."""
        return self._at("evaluation", "summary.json")

    @property
    def retry(self) -> str:
        """Catalog of the failed items, for another run; exists only if items failed."""
        return self._at("retry.parquet")

    @property
    def report(self) -> str:
        """The HTML report."""
        return self._at("report", "index.html")

    @property
    def success(self) -> str:
        """The success marker, written last."""
        return self._at("_SUCCESS")
