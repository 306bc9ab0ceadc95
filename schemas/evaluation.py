"""Evaluation of results: metrics of items and galleries, and gates on metrics."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from schemas.base import Frozen, Row

_GATE = re.compile(r"\s*([a-z_]+)\s*(>=|<=)\s*(-?\d{1,9}(?:\.\d{1,9})?)\s*", re.ASCII)


class ItemMetrics(Row):
    """Metrics of one result. Distances are 0, and similarities 1, for equal pictures.

    They are measured at a short side of 320 px, except those of protected pixels, those that name
    another size, and the ones from `texture_difference` to `text_kept`, which are measured at the
    result's own size, up to a short side of 2,048 px. Texture, blocks and structure are compared on
    EfficientNet-Lite0 (ImageNet weights), so they are not comparable with published VGG, LPIPS or
    FID values. `lpips`, `csd` and `cfsd` need weights from the user.

    At its own size, a result is compared with references that are resized to its short side. A
    reference that would be enlarged by more than a quarter is left out, and so is a size below a
    short side of 128 px.
    """

    ssim: float | None = Field(
        None, description="Structural similarity of luminance, result to original (-1 to 1)."
    )
    ms_ssim: float | None = Field(
        None,
        description="Multi-scale `ssim` (0 to 1); null for tiny pictures.",
    )
    edge_agreement: float | None = Field(
        None, description="Correlation of edges, result to original (-1 to 1)."
    )
    structure_distance: float | None = Field(
        None, description="Difference of the self-similarity of semantic features (0 to 4)."
    )
    protected_ssim: float | None = Field(
        None, description="Structural similarity of the protected area; null without one."
    )
    protected_difference: float | None = Field(
        None, description="Largest change of a protected pixel, in steps of 8 bits (0 to 255)."
    )
    gram_distance: float | None = Field(
        None, description="Distance of textures (Gram matrices) to the references, from 0."
    )
    gram_ratio: float | None = Field(
        None, description="`gram_distance` divided by that of the original; below 1 is closer."
    )
    patch_distance: float | None = Field(
        None, description="Mean distance of best-matching 4 x 4 blocks to the references (0 to 2)."
    )
    colour_distance: float | None = Field(
        None, description="Distance of color histograms to the references (0 to 1)."
    )
    regional_gram_distance: float | None = Field(
        None, description="`gram_distance` of each region to its match, weighted by area."
    )
    regional_gram_ratio: float | None = Field(
        None, description="`regional_gram_distance` divided by that of the original."
    )
    regional_patch_distance: float | None = Field(
        None, description="`patch_distance` of each region to its match, weighted by area."
    )
    regional_colour_distance: float | None = Field(
        None, description="`colour_distance` of each region to its match, weighted by area."
    )
    content_colour_distance: float | None = Field(
        None, description="Distance of color histograms to the original (0 to 1)."
    )
    hfrd: float | None = Field(
        None,
        description="Difference of the share of energy above 1/16 cycle a pixel to the "
        "references (0 to 1); rises with blur.",
    )
    gram_ratio_own: float | None = Field(
        None, description="`gram_ratio` at the result's own size, where strokes are seen."
    )
    gram_ratio_half: float | None = Field(None, description="The same at half the size.")
    gram_ratio_quarter: float | None = Field(None, description="The same at a quarter of the size.")
    gram_ratio_scales: float | None = Field(
        None, description="Mean of `gram_ratio` at these sizes, as far as they exist."
    )
    regional_gram_ratio_own: float | None = Field(
        None, description="`regional_gram_ratio` at the result's own size."
    )
    regional_gram_ratio_half: float | None = Field(None, description="The same at half the size.")
    regional_gram_ratio_quarter: float | None = Field(
        None, description="The same at a quarter of the size."
    )
    regional_gram_ratio_scales: float | None = Field(
        None, description="Mean of `regional_gram_ratio` at these sizes, as far as they exist."
    )
    texture_difference: float | None = Field(
        None,
        description="Difference of the share of texture above 1/4 cycle a pixel, each region to "
        "its match, weighted by area (0 to 1).",
    )
    sharpness: float | None = Field(
        None,
        description="Energy above 1/4 cycle a pixel, divided by that of the original, from 0.",
    )
    ssim_own: float | None = Field(None, description="`ssim` at the result's own size.")
    edge_agreement_own: float | None = Field(
        None, description="`edge_agreement` at the result's own size."
    )
    second_style_distance: float | None = Field(
        None,
        description="Distance of style vectors of a second network to the references, at a short "
        "side of 256 px (0 to 2); benchmarks only.",
    )
    second_style_ratio: float | None = Field(
        None, description="`second_style_distance` divided by that of the original."
    )
    second_style_ratio_own: float | None = Field(
        None, description="The same by squares of 256 px at the result's own size."
    )
    regional_second_style_ratio_own: float | None = Field(
        None, description="The same for each region to its match, weighted by area."
    )
    text_kept: float | None = Field(
        None,
        description="Share of the original's legible characters that can be read (0 to 1); null "
        "without any; benchmarks only.",
    )
    cfsd: float | None = Field(
        None,
        description="Divergence of the self-similarity of VGG19 features, original to result, at "
        "a short side of 512 px, from 0; needs weights.",
    )
    lpips: float | None = Field(
        None, description="LPIPS (AlexNet, version 0.1), result to original, from 0; needs weights."
    )
    csd: float | None = Field(
        None,
        description="Cosine similarity of contrastive style descriptors, result to references "
        "(-1 to 1); needs weights.",
    )


BETTER: Final[dict[str, Literal["↑", "↓"]]] = {
    name: "↓" if "distance" in name or "ratio" in name or "difference" in name else "↑"
    for name in ItemMetrics.model_fields
} | {"lpips": "↓", "hfrd": "↓", "cfsd": "↓"}
"""Whether higher (↑) or lower (↓) values of a metric are better."""


BENCHMARKS_ALONE: Final = frozenset(
    {
        "second_style_distance",
        "second_style_ratio",
        "second_style_ratio_own",
        "regional_second_style_ratio_own",
        "text_kept",
    }
)
"""Metrics that `stylegallery benchmark` alone computes."""


class ExternalWeights(Frozen):
    """Weight files of external networks, which some metrics need and the user provides."""

    lpips: str = Field(
        "",
        title="LPIPS",
        description="torchvision's AlexNet weights (alexnet-owt-7be5be79.pth): a file on every "
        "machine, or OWNER/REPO/FILE of the hub; empty leaves `lpips` out.",
    )
    csd: str = Field(
        "",
        title="CSD",
        description="The checkpoint of contrastive style descriptors (ViT-L): a file on every "
        "machine, or OWNER/REPO/FILE of the hub; empty leaves `csd` out.",
    )
    cfsd: str = Field(
        "",
        title="CFSD",
        description="torchvision's VGG19 weights (vgg19-dcbb9e9d.pth): a file on every machine, or "
        "OWNER/REPO/FILE of the hub; empty leaves `cfsd` out.",
    )
    inception: str = Field(
        "",
        title="Art inception",
        description="ArtFID's Inception network trained on art (art_inception.pth): a file on "
        "every machine, or OWNER/REPO/FILE of the hub; empty leaves `fid_art` out.",
    )


def check_measured(gates: list[str], weights: ExternalWeights) -> None:
    """Refuse gates on metrics that will not be computed, because every result would pass them.

    Raises:
        ValueError: a gate is invalid, its metric needs weights that are not given, or a benchmark
            alone computes it.
    """
    for name in (Gate.parse(text).metric for text in gates):
        if name in BENCHMARKS_ALONE:
            raise ValueError(
                f"a gate on `{name}` cannot be checked, because `stylegallery benchmark` alone "
                "computes it; choose another metric"
            )
        if name in ExternalWeights.model_fields and not getattr(weights, name):
            raise ValueError(
                f"a gate on `{name}` needs its weights; give them to `stylegallery evaluate "
                f"--{name} FILE` once the run is over"
            )


_GATES_SCHEMA: dict[str, Any] = {
    "items": {
        "type": "string",
        "pattern": rf"^\s*({'|'.join(ItemMetrics.model_fields)})\s*(>=|<=)\s*-?\d+(\.\d+)?\s*$",
    }
}
"""JSON Schema of a list of gates, so that a form refuses invalid ones."""


@dataclass(frozen=True)
class Gate:
    """A bound on a metric: a lower one for `>=`, an upper one for `<=`."""

    metric: str
    relation: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> "Gate":
        """Parse a gate such as `ssim >= 0.5`.

        Raises:
            ValueError: the text is no gate or names no metric; the message says what to write.
        """
        found = _GATE.fullmatch(text)
        if not found:
            raise ValueError(f"{text[:80]!r} is no gate; write it like `ssim >= 0.5`")
        metric, relation, bound = found.groups()
        if metric not in ItemMetrics.model_fields:
            known = ", ".join(ItemMetrics.model_fields)
            raise ValueError(f"{metric[:80]!r} is no metric; there are {known}")
        return cls(metric, relation, float(bound))

    def violation(self, metrics: ItemMetrics) -> str:
        """Return how a result misses the gate; empty if it does not, or has no such metric."""
        value = getattr(metrics, self.metric)
        if value is None:
            return ""
        below = self.relation == ">="
        if value >= self.bound if below else value <= self.bound:
            return ""
        return f"{self.metric} is {value:.4g}, {'below' if below else 'above'} {self.bound:g}"


def _parsed(gates: list[str]) -> list[str]:
    for text in gates:
        Gate.parse(text)
    return gates


Gates = Annotated[
    list[str],
    AfterValidator(_parsed),
    Field(
        title="Quality gates",
        description="A result that misses one is flagged, such as `ssim >= 0.5` or "
        "`protected_difference <= 0`.",
        examples=[["ssim >= 0.5", "structure_distance <= 0.05"]],
        json_schema_extra=_GATES_SCHEMA,
    ),
]
"""Gates as a form and the command line take them."""


class RegionMetrics(Row):
    """Style distances of one content region to the reference region that it is matched with."""

    region: int = Field(description="Index of the content region, from 0.")
    style_id: str = Field(description="Id of the reference.")
    style_region: int = Field(description="Index of the region within that reference, from 0.")
    area: float = Field(description="Share of the image that the region covers, 0 to 1.")
    gram_distance: float | None = Field(None, description="Distance of textures (Gram matrices).")
    patch_distance: float | None = Field(
        None, description="Distance of blocks; null if a region covers a quarter of no block."
    )
    colour_distance: float | None = Field(None, description="Distance of color histograms.")


class ItemEvaluation(ItemMetrics):
    """One row per item with an asset: its metrics and the gates that it misses."""

    item_id: str = Field(description="The item.")
    product_id: str = Field(description="Id of the product.")
    view: str = Field(description="Which photo of the product.")
    gallery_id: str = Field(description="Gallery whose style it takes.")
    asset_sha256: str = Field(description="SHA-256 of the measured asset.")
    measure: str = Field(description="Version of the measurement: metrics and networks.")
    regions: list[RegionMetrics] = Field(
        default_factory=list, description="One entry per content region."
    )
    flags: list[str] = Field(
        default_factory=list, description="A sentence for each gate that the item misses."
    )
    error: str = Field("", description="Why the item could not be measured, in a sentence.")


class ConfidenceInterval(Frozen):
    """A value with its 95 % confidence interval."""

    value: float = Field(description="The mean, or the distance of a set.")
    low: float = Field(description="Lower end of the interval.")
    high: float = Field(description="Upper end of the interval.")
    count: int = Field(description="Number of items.")


class GalleryMetrics(Frozen):
    """Metrics of all items of one gallery as a set."""

    frechet_lite0: ConfidenceInterval | None = Field(
        None,
        description="Fréchet distance to the references' blocks on EfficientNet-Lite0; not FID.",
    )
    art_product_lite0: float | None = Field(
        None,
        description="(1 + mean structure_distance) (1 + frechet_lite0): ArtFID's formula on "
        "other networks.",
    )
    fid_art: ConfidenceInterval | None = Field(
        None,
        description="FID of the given Inception network; large for few pictures.",
    )
    art_fid: float | None = Field(
        None, description="(1 + mean `lpips`) (1 + `fid_art`), if both have weights."
    )


class EvaluationSummary(Frozen):
    """Summary of a run's evaluation, `evaluation/summary.json`."""

    items: int = Field(0, description="Items with an asset.")
    measured: int = Field(0, description="Items that were measured.")
    flagged: int = Field(0, description="Items that miss a gate.")
    unmeasured: int = Field(0, description="Items that could not be measured.")
    gates: list[str] = Field(default_factory=list, description="Gates of the run.")
    missed: dict[str, int] = Field(
        default_factory=dict, description="Number of measured items that miss each gate."
    )
    encoder: str = Field("efficientnet-lite0", description="Network of the metrics.")
    figures: dict[str, ConfidenceInterval] = Field(
        default_factory=dict, description="Means of all metrics over all items."
    )
    galleries: dict[str, GalleryMetrics] = Field(
        default_factory=dict, description="Metrics of each gallery's pictures as a set."
    )
