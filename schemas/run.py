"""One run: what it is asked to do, and the record that it leaves."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator

from schemas.base import Frozen
from schemas.engine import EngineSpec
from schemas.evaluation import Borrowed, Gates, check_measured
from schemas.params import StyleParams

URI_PATTERN = (
    r"^((s3|gs|gcs|az|abfss?|oss|ftp|sftp|hdfs|webhdfs|smb|memory)://[^@/]+(/.*)?"
    r"|file://[^@/]*/.+|([^:]|:/?[^/])+:?)$"
)
"""Local paths, s3:// and what else an operator may allow (`tasks.access`), never with a password;
checked by the form before a run is made."""


class PoolSpec(Frozen):
    """How many engines run, and on what."""

    model_config = ConfigDict(allow_inf_nan=False)

    actors: int = Field(
        0,
        ge=0,
        le=4096,
        title="Actors",
        description="Engines running at once. 0 means one here, or as many as the GPUs hold; on a "
        "cluster, one on each node or as many as its GPUs hold, as nodes come and go.",
    )
    gpus_per_actor: float = Field(
        0.0,
        ge=0,
        le=8,
        title="GPUs per actor",
        description="GPUs each engine holds; 0 runs on the CPU.",
    )
    cpus_per_actor: float = Field(
        0.0,
        ge=0,
        le=256,
        title="CPUs per actor",
        description="CPU cores each engine holds; 0 shares the machine's cores among the actors.",
    )
    lease: int = Field(
        8,
        ge=1,
        le=256,
        title="Lease",
        description="Items handed to an actor at a time; at least a batch.",
    )
    batch: int = Field(
        0,
        ge=0,
        le=64,
        title="Batch",
        description="Items that share UNet calls: more are faster on a GPU and need more memory, "
        "and change results by rounding alone. 0 means 8 on a GPU and 1 on a CPU.",
    )
    item_deadline: float = Field(
        900.0,
        gt=0,
        title="Item deadline",
        description="Seconds after which an item is taken for hung and its actor is replaced.",
    )
    load_deadline: float = Field(
        1800.0,
        gt=0,
        title="Load deadline",
        description="Seconds after which an engine that still loads is taken for hung and its "
        "actor is replaced; more where models come over a slow network.",
    )
    max_attempts: int = Field(
        3,
        ge=1,
        le=10,
        title="Attempts",
        description="How often an item may kill its actor or hit a passing fault before it fails.",
    )
    ray_address: str = Field(
        "local",
        min_length=1,
        title="Ray address",
        description="`local` starts Ray here; `auto` or host:port joins a cluster.",
    )


GalleryUris = Annotated[
    list[str],
    Field(
        min_length=1,
        title="Galleries",
        description="Parquet manifests of the style galleries.",
        examples=[["s3://brand/galleries.parquet"]],
    ),
]
OnlyGalleries = Annotated[
    list[str],
    Field(
        title="Only these galleries",
        description="Ids of the galleries to use; empty means all in the manifests.",
    ),
]


class RestyleSpec(Frozen):
    """Everything a run needs to know. The Prefect form and the command line are made of this."""

    catalog: str = Field(
        pattern=URI_PATTERN,
        title="Catalog",
        description="Parquet manifest of the product photos: a local path, file:// or s3://.",
        examples=["s3://brand/catalog.parquet"],
    )
    galleries: GalleryUris
    output: str = Field(
        pattern=URI_PATTERN,
        title="Output",
        description="Folder or S3 prefix for assets, tables and the report.",
        examples=["s3://brand/restyled"],
    )
    only: OnlyGalleries = Field([])
    limit: int = Field(
        0, ge=0, title="Limit", description="Restyle at most this many items; 0 means all."
    )
    image_format: Literal["png", "webp", "jpg"] = Field(
        "png",
        title="Format",
        description="File format of the assets; png is lossless, and so is webp without quality.",
    )
    quality: int = Field(
        0,
        ge=0,
        le=100,
        title="Quality",
        description="Quality of jpg and webp assets, 1 to 100; 0 is lossless webp and jpg at 95.",
    )
    require_license: bool = Field(
        False,
        title="Require licences",
        description="Refuse the run when a reference has no licence or has expired.",
    )
    strict: bool = Field(
        False,
        title="Strict",
        description="Refuse the run when a row of a manifest cannot be used. Otherwise its items "
        "are rejected and the others are restyled.",
    )
    check_assets: bool = Field(
        False,
        title="Check assets",
        description="Read the pictures and region maps of finished items, and make those anew that "
        "are gone or spoilt. Otherwise the tables of finished items are believed.",
    )
    max_failed: float = Field(
        1.0,
        ge=0,
        le=1,
        title="Failures allowed",
        description="Share of items that may be rejected or failed; with more the flow run ends as "
        "Failed, for alarms to hear. What is done stands either way.",
    )
    evaluate: bool = Field(
        False,
        title="Evaluate",
        description="Measure each result when all are there: how much of the original it keeps, "
        "how close to its references it is. Quality gates ask for it as well.",
    )
    gates: Gates = Field([])
    params: StyleParams = Field(
        StyleParams(), title="Style", description="How images are restyled."
    )
    engine: EngineSpec = Field(EngineSpec(), title="Engine", description="Model, encoder, device.")
    pool: PoolSpec = Field(PoolSpec(), title="Pool", description="How many engines, on what.")

    @field_validator("gates")
    @classmethod
    def _can_be_measured(cls, gates: list[str]) -> list[str]:
        check_measured(gates, Borrowed())
        return gates

    @property
    def judged(self) -> bool:
        """True when results are to be measured."""
        return self.evaluate or bool(self.gates)


class PlanCounts(Frozen):
    """How many items a plan holds, and what is left to do."""

    items: int = Field(0, description="Items asked for.")
    done: int = Field(0, description="Items that an earlier run or attempt finished.")
    todo: int = Field(0, description="Items still to compute.")
    rejected: int = Field(0, description="Items whose row in a manifest cannot be used.")
    products: int = Field(0, description="Catalog rows.")
    galleries: int = Field(0, description="Galleries used.")
    styles: int = Field(0, description="Reference images used.")


class RunSummary(Frozen):
    """How a run ended, in numbers."""

    ok: int = Field(0, description="Items with an asset.")
    rejected: int = Field(0, description="Items whose input is at fault.")
    failed: int = Field(0, description="Items that failed after retries.")
    reused: int = Field(0, description="Items among `ok` that were taken over, not computed.")
    flagged: int = Field(0, description="Items among `ok` that miss a quality gate.")
    warned: int = Field(0, description="Items among `ok` with a warning on their inputs.")
    warnings: list[str] = Field(
        default_factory=list, description="The first of these warnings, each once."
    )

    @property
    def items(self) -> int:
        """Number of items that ended."""
        return self.ok + self.rejected + self.failed


class RunRecord(Frozen):
    """run.json: written when a run starts, closed when it ends."""

    run_id: str = Field(description="Same command on same inputs: same id.")
    schema_version: int = Field(description="Version of the tables.")
    spec: RestyleSpec = Field(description="Resolved parameters.")
    versions: dict[str, str] = Field(description="Versions of the packages that matter.")
    engine_fingerprint: str = Field(description="Model, encoder, device class and precision.")
    counts: PlanCounts = Field(description="The plan in numbers.")
    state: Literal["running", "finished", "cancelled", "crashed"] = Field(
        description="How it ended; `running` until then."
    )
    conditional_writes: bool | None = Field(
        None, description="Whether the output's store can refuse to write over what is there."
    )
    started_at: datetime = Field(description="When it started, UTC.")
    ended_at: datetime | None = Field(None, description="When it ended, UTC.")
    summary: RunSummary | None = Field(None, description="Counts by status at the end.")
    message: str = Field("", description="Why it did not finish, in a sentence.")
