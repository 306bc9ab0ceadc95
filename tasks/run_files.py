"""Where everything lies below an output root: every name of the layout is here and only here."""

from dataclasses import dataclass

from tasks import storage

LATEST = "catalog/LATEST.json"
FOLDERS = ("assets", "catalog", "prepared", "previews", "regions", "runs", "thumbnails")
"""What lies directly below an output root."""


@dataclass(frozen=True)
class RunFiles:
    """URIs of one run's files.

    Attributes:
        output: Absolute URI of the output root.
        run_id: The run.
    """

    output: str
    run_id: str

    def _at(self, *parts: str) -> str:
        return storage.join(self.output, "runs", self.run_id, *parts)

    @property
    def record(self) -> str:
        """run.json."""
        return self._at("run.json")

    @property
    def lock(self) -> str:
        """Who drives the run; there only while somebody does."""
        return self._at("lock.json")

    @property
    def lock_probe(self) -> str:
        """What a driver writes and deletes at its start to learn how the store writes."""
        return self._at("lock-probe.json")

    @property
    def plan(self) -> str:
        """Folder of the parts with every item asked for."""
        return self._at("plan")

    @property
    def plan_styles(self) -> str:
        """Folder of the references of all galleries; readers of `plan` pass such a name over."""
        return self._at("plan", "_galleries")

    @property
    def ledger(self) -> str:
        """Folder of the append-only parts."""
        return self._at("ledger")

    @property
    def results(self) -> str:
        """Folder of the parts with one row per item, each of the plan's part of that name."""
        return self._at("results")

    @property
    def matches(self) -> str:
        """Folder of the parts with one row per item and content region, likewise."""
        return self._at("matches")

    @property
    def evaluation(self) -> str:
        """Folder of the parts with figures, each of the results' part of that name; on request."""
        return self._at("evaluation")

    @property
    def evaluation_summary(self) -> str:
        """What the figures come to."""
        return self._at("evaluation", "summary.json")

    @property
    def retry(self) -> str:
        """Failed rows as the next manifest; there only when something failed."""
        return self._at("retry.parquet")

    @property
    def report(self) -> str:
        """The page for people."""
        return self._at("report", "index.html")

    @property
    def success(self) -> str:
        """Written last."""
        return self._at("_SUCCESS")
