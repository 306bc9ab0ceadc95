"""Settings and Prefect forms of the flows `preview`, `prepare-gallery` and `evaluate-run`."""

from typing import ClassVar

from pydantic import Field

from schemas.base import Settings
from schemas.engine import EngineSpec
from schemas.evaluation import ExternalWeights, Gates
from schemas.params import StyleParams
from schemas.run import URI_PATTERN, GalleryIds, GalleryUris, PoolSpec, RestyleSpec


class PreviewSpec(RestyleSpec):
    """A run over a few photos, to approve before the whole catalog is restyled."""

    renamed: ClassVar[dict[str, str]] = {**RestyleSpec.renamed, "draw": "seed"}

    products: int = Field(
        5,
        ge=1,
        le=500,
        title="Photos per gallery",
        description="How many photos of the catalog, chosen at random, to restyle in each gallery.",
    )
    seed: int = Field(0, ge=0, title="Seed", description="Seed of the random selection.")


class PrepareSpec(Settings):
    """Galleries to analyze before a run, so that its actors find the results."""

    renamed: ClassVar[dict[str, str]] = {"only": "gallery_ids"}

    galleries: GalleryUris
    output: str = Field(
        pattern=URI_PATTERN,
        title="Output",
        description="Output folder of the later runs; results are written to prepared/.",
        examples=["s3://brand/restyled"],
    )
    gallery_ids: GalleryIds = Field([])
    params: StyleParams = Field(StyleParams(), title="Style", description="As for the later runs.")
    engine: EngineSpec = Field(
        EngineSpec(), title="Engine", description="As for the later runs: model, encoder, device."
    )
    pool: PoolSpec = Field(PoolSpec(), title="Pool", description="Engines and their resources.")


class EvaluateSpec(ExternalWeights):
    """A finished run to measure."""

    output: str = Field(
        pattern=URI_PATTERN,
        title="Output",
        description="Output folder or S3 prefix of the run.",
        examples=["s3://brand/restyled"],
    )
    run_id: str = Field(
        pattern=r"^run-[0-9a-f]+$",
        title="Run",
        description="Id of the run: a folder below runs/.",
        examples=["run-0123456789ab"],
    )
    gates: Gates = Field([])
    ray_address: str = Field(
        "local",
        min_length=1,
        title="Ray address",
        description="`local` starts Ray on this machine. `auto` or HOST:PORT joins a cluster.",
    )
