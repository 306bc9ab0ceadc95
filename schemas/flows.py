"""Parameters of the flows beside `restyle-catalog`; the Prefect forms are made of these."""

from pydantic import Field

from schemas.base import Frozen
from schemas.engine import EngineSpec
from schemas.evaluation import ExternalWeights, Gates
from schemas.params import StyleParams
from schemas.run import URI_PATTERN, GalleryUris, OnlyGalleries, PoolSpec, RestyleSpec


class PreviewSpec(RestyleSpec):
    """A run over a few photos, to be approved before the whole catalog is restyled."""

    products: int = Field(
        5,
        ge=1,
        le=500,
        title="Photos per gallery",
        description="How many photos of the catalog, chosen at random, each gallery is shown on.",
    )
    draw: int = Field(
        0, ge=0, title="Draw", description="Another number draws other photos; the same, the same."
    )


class PrepareSpec(Frozen):
    """Galleries to be analysed before a run, so that its actors find that done."""

    galleries: GalleryUris
    output: str = Field(
        pattern=URI_PATTERN,
        title="Output",
        description="Folder or S3 prefix of the runs to come; what is found goes to prepared/.",
        examples=["s3://brand/restyled"],
    )
    only: OnlyGalleries = Field([])
    params: StyleParams = Field(
        StyleParams(), title="Style", description="As for the runs to come."
    )
    engine: EngineSpec = Field(
        EngineSpec(), title="Engine", description="As for the runs to come: model, encoder, device."
    )
    pool: PoolSpec = Field(PoolSpec(), title="Pool", description="How many engines, on what.")


class EvaluateSpec(ExternalWeights):
    """A finished run to be measured."""

    output: str = Field(
        pattern=URI_PATTERN,
        title="Output",
        description="Folder or S3 prefix of the run.",
        examples=["s3://brand/restyled"],
    )
    run_id: str = Field(
        pattern=r"^run-[0-9a-f]+$",
        title="Run",
        description="Id of the run: a folder name below runs/.",
        examples=["run-0123456789ab"],
    )
    gates: Gates = Field([])
    ray_address: str = Field(
        "local",
        min_length=1,
        title="Ray address",
        description="`local` starts Ray here; `auto` or host:port joins a cluster.",
    )
