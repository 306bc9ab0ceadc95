"""One run: its settings and its record."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, field_validator

from schemas.base import Frozen, Settings
from schemas.engine import EngineSpec
from schemas.evaluation import ExternalWeights, Gates, check_measured
from schemas.methods import method_info
from schemas.params import StyleParams
from schemas.students import StudentCheck

URI_PATTERN = (
    r"^((s3|gs|gcs|az|abfss?|oss|ftp|sftp|hdfs|webhdfs|smb|memory)://[^@/]+(/.*)?"
    r"|file://[^@/]*/.+|([^:]|:/?[^/])+:?)$"
)
"""Local paths, s3:// and other schemes that an operator may allow (`tasks.storage.policy`), never
with a password. The form checks it before a run is created."""


class PoolSpec(Settings):
    """The engines of a run and their resources."""

    model_config = ConfigDict(allow_inf_nan=False)

    renamed: ClassVar[dict[str, str]] = {"lease": "chunk_size"}

    actors: int = Field(
        0,
        ge=0,
        le=4096,
        title="Actors",
        description="Number of engines. 0 starts one locally, or as many as the GPUs hold; on a "
        "cluster, one per node or as many as its GPUs hold, and follows nodes that join or leave.",
    )
    gpus_per_actor: float = Field(
        0.0,
        ge=0,
        le=8,
        title="GPUs per actor",
        description="GPUs per engine. 0 runs on the CPU.",
    )
    cpus_per_actor: float = Field(
        0.0,
        ge=0,
        le=256,
        title="CPUs per actor",
        description="CPU cores per engine. 0 divides the machine's cores among the engines.",
    )
    chunk_size: int = Field(
        8,
        ge=1,
        le=256,
        title="Chunk size",
        description="Items sent to an actor at a time; at least one batch.",
    )
    batch: int = Field(
        0,
        ge=0,
        le=64,
        title="Batch",
        description="Items per UNet call. Larger batches are faster on a GPU, need more memory, "
        "and change results by rounding only. 0 means 8 on a GPU and 1 on a CPU.",
    )
    item_deadline: float = Field(
        900.0,
        gt=0,
        title="Item deadline",
        description="Seconds after which an item counts as hung and its actor is replaced.",
    )
    load_deadline: float = Field(
        1800.0,
        gt=0,
        title="Load deadline",
        description="Seconds after which an engine that is still loading counts as hung and its "
        "actor is replaced. Raise it where models load over a slow network.",
    )
    max_attempts: int = Field(
        3,
        ge=1,
        le=10,
        title="Attempts",
        description="How often an item may kill its actor or meet a transient error before it "
        "fails.",
    )
    ray_address: str = Field(
        "local",
        min_length=1,
        title="Ray address",
        description="`local` starts Ray on this machine. `auto` or HOST:PORT joins a cluster.",
    )


GalleryUris = Annotated[
    list[str],
    Field(
        min_length=1,
        title="Galleries",
        description="Manifests of the style galleries: Parquet, CSV, JSON or folders of images.",
        examples=[["s3://brand/galleries.parquet"]],
    ),
]
GalleryIds = Annotated[
    list[str],
    Field(
        title="Gallery ids",
        description="Ids of the galleries to use. Empty means all.",
    ),
]


class RestyleSpec(Settings):
    """All settings of a run. The Prefect form and the command line are made from this."""

    renamed: ClassVar[dict[str, str]] = {"only": "gallery_ids", "max_failed": "max_failed_fraction"}

    catalog: str = Field(
        pattern=URI_PATTERN,
        title="Catalog",
        description="Manifest of the product photos: Parquet, CSV, JSON or a folder of images; a "
        "local path, file:// or s3://.",
        examples=["s3://brand/catalog.parquet"],
    )
    galleries: GalleryUris
    output: str = Field(
        pattern=URI_PATTERN,
        title="Output",
        description="Folder or S3 prefix for assets, tables and the report.",
        examples=["s3://brand/restyled"],
    )
    gallery_ids: GalleryIds = Field([])
    limit: int = Field(
        0, ge=0, title="Limit", description="Restyle at most this many items. 0 means all."
    )
    image_format: Literal["png", "webp", "jpg"] = Field(
        "png",
        title="Format",
        description="File format of the assets. png is lossless; webp is lossless unless a "
        "quality is set.",
    )
    quality: int = Field(
        0,
        ge=0,
        le=100,
        title="Quality",
        description="Quality of jpg and webp assets, 1 to 100. 0 means lossless webp, and jpg at "
        "95.",
    )
    require_license: bool = Field(
        False,
        title="Require licenses",
        description="Refuse the run when a reference has no license or its license has expired.",
    )
    strict: bool = Field(
        False,
        title="Strict",
        description="Refuse the run when any manifest row is invalid. Otherwise only the items of "
        "that row are rejected.",
    )
    check_assets: bool = Field(
        False,
        title="Check assets",
        description="Read the assets and region maps of finished items, and make missing or "
        "damaged ones again. Otherwise the table of finished items is trusted.",
    )
    max_failed_fraction: float = Field(
        1.0,
        ge=0,
        le=1,
        title="Maximum failed fraction",
        description="Fraction of items that may be rejected or fail. Above it the flow run is "
        "marked Failed; finished assets are kept.",
    )
    evaluate: bool = Field(
        False,
        title="Evaluate",
        description="Measure every result at the end of the run: how much of the photo it keeps "
        "and how close it is to its references. Quality gates imply this.",
    )
    gates: Gates = Field([])
    student_check: StudentCheck = Field(
        "off",
        title="Student check",
        description="For methods that learn: restyle four photos of each gallery with its learnt "
        "style and with `stylegallery`, and compare them. `warn` adds a warning for a learnt style "
        "that is far behind, `strict` fails the items of its gallery. Pixels never depend on this.",
    )
    params: StyleParams = Field(StyleParams(), title="Style", description="Style parameters.")
    engine: EngineSpec = Field(
        EngineSpec(), title="Engine", description="Model, semantic encoder and device."
    )
    pool: PoolSpec = Field(PoolSpec(), title="Pool", description="Engines and their resources.")

    @field_validator("gates")
    @classmethod
    def _can_be_measured(cls, gates: list[str]) -> list[str]:
        check_measured(gates, ExternalWeights())
        return gates

    @property
    def checks_students(self) -> bool:
        """True when learnt styles are to be compared with the method that learns nothing."""
        return self.student_check != "off" and bool(method_info(self.params.method).learns)

    @property
    def needs_evaluation(self) -> bool:
        """True when results are to be measured."""
        return self.evaluate or bool(self.gates)


class PlanCounts(Frozen):
    """How many items a plan holds, and what is left to do."""

    items: int = Field(0, description="Items asked for.")
    done: int = Field(0, description="Items finished by an earlier run or attempt.")
    todo: int = Field(0, description="Items still to compute.")
    rejected: int = Field(0, description="Items whose manifest row is invalid.")
    to_learn: int = Field(0, description="Styles to learn before the items.")
    products: int = Field(0, description="Catalog rows.")
    galleries: int = Field(0, description="Galleries used.")
    styles: int = Field(0, description="Reference images used.")


class RunSummary(Frozen):
    """Counts of a finished run."""

    ok: int = Field(0, description="Items with an asset.")
    rejected: int = Field(0, description="Items whose input cannot be used.")
    failed: int = Field(0, description="Items that failed after retries.")
    reused: int = Field(0, description="Items among `ok` that were reused, not computed.")
    flagged: int = Field(0, description="Items among `ok` that miss a quality gate.")
    warned: int = Field(0, description="Items among `ok` with a warning about their inputs.")
    warnings: list[str] = Field(default_factory=list, description="The first distinct warnings.")

    @property
    def items(self) -> int:
        """Number of items that ended."""
        return self.ok + self.rejected + self.failed

    def headline(self) -> str:
        """Return the counts in one line, such as `3 of 4 restyled, 1 failed`."""
        problems = [
            f"{count} {status}"
            for count, status in ((self.rejected, "rejected"), (self.failed, "failed"))
            if count
        ]
        of = f" of {self.items}" if problems else ""
        notes = [
            f"{count} {note}"
            for count, note in ((self.flagged, "flagged"), (self.warned, "with a warning"))
            if count
        ]
        return ", ".join([f"{self.ok}{of} restyled", *notes, *problems])


class RunRecord(Frozen):
    """run.json: written when a run starts, updated when it ends."""

    run_id: str = Field(
        description="Id of the run; the same command on the same inputs has the same id."
    )
    schema_version: int = Field(description="Version of the tables.")
    spec: RestyleSpec = Field(description="Resolved parameters.")
    versions: dict[str, str] = Field(description="Versions of the relevant packages.")
    engine_fingerprint: str = Field(description="Model, encoder, device class and precision.")
    counts: PlanCounts = Field(description="The plan in numbers.")
    state: Literal["running", "finished", "cancelled", "crashed"] = Field(
        description="State of the run."
    )
    conditional_writes: bool | None = Field(
        None, description="Whether the output store supports conditional writes."
    )
    started_at: datetime = Field(description="When it started, UTC.")
    ended_at: datetime | None = Field(None, description="When it ended, UTC.")
    summary: RunSummary | None = Field(None, description="Counts by status at the end.")
    message: str = Field("", description="Why the run did not finish, in one sentence.")
