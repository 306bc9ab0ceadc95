"""How results are judged: the figures of each item, and the gates that a run sets to them."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from schemas.base import Frozen, Row

_GATE = re.compile(r"\s*([a-z_]+)\s*(>=|<=)\s*(-?\d{1,9}(?:\.\d{1,9})?)\s*", re.ASCII)


class ItemMetrics(Row):
    """Figures of one result. Distances are 0 for alike; similarities are 1 for alike.

    All are measured at a short side of 320 px, but for protected pixels. Texture, blocks and
    structure are compared over EfficientNet-Lite0 (ImageNet weights), so they are no VGG, LPIPS or
    FID figures and comparable to those of no paper; `lpips` and `csd` are there when their weights
    are given.
    """

    ssim: float | None = Field(
        None, description="Structural similarity of luminance, result to original (-1 to 1)."
    )
    ms_ssim: float | None = Field(
        None, description="The same over several scales (0 to 1); null for tiny pictures."
    )
    edge_agreement: float | None = Field(
        None, description="Correlation of outlines, result to original (-1 to 1)."
    )
    structure_distance: float | None = Field(
        None, description="Difference of the self-similarity of semantic features (0 to 4)."
    )
    protected_ssim: float | None = Field(
        None, description="Structural similarity of the protected area; null where there is none."
    )
    protected_difference: float | None = Field(
        None, description="Largest change of a protected pixel in steps of 8 bits (0 to 255)."
    )
    gram_distance: float | None = Field(
        None, description="Distance of textures (Gram matrices) to the references (from 0)."
    )
    gram_ratio: float | None = Field(
        None, description="The same over that of the untouched original: below 1 is closer."
    )
    patch_distance: float | None = Field(
        None, description="Distance of best partners among 4 x 4 blocks to the references (0 to 2)."
    )
    colour_distance: float | None = Field(
        None, description="Distance of colour histograms to the references (0 to 1)."
    )
    regional_gram_distance: float | None = Field(
        None, description="Distance of textures, each region to its match, by area."
    )
    regional_gram_ratio: float | None = Field(
        None, description="The same over that of the untouched original."
    )
    regional_patch_distance: float | None = Field(
        None, description="Distance of blocks, each region to its match, by area."
    )
    regional_colour_distance: float | None = Field(
        None, description="Distance of colours, each region to its match, by area."
    )
    lpips: float | None = Field(
        None, description="LPIPS (AlexNet, 0.1), result to original, from 0; needs its weights."
    )
    csd: float | None = Field(
        None,
        description="Cosine of contrastive style descriptors, result to references (-1 to 1); "
        "needs its weights.",
    )


BETTER: Final[dict[str, Literal["↑", "↓"]]] = {
    name: "↓" if "distance" in name or "ratio" in name or "difference" in name else "↑"
    for name in ItemMetrics.model_fields
} | {"lpips": "↓"}
"""Whether a higher (↑) or a lower (↓) value of a figure is better."""


class ExternalWeights(Frozen):
    """Files of networks that the user has, for figures that need them."""

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
    inception: str = Field(
        "",
        title="Art inception",
        description="ArtFID's Inception network trained on art (art_inception.pth): a file on "
        "every machine, or OWNER/REPO/FILE of the hub; empty leaves `fid_art` out.",
    )


def check_measured(gates: list[str], weights: ExternalWeights) -> None:
    """Refuse gates on figures that will not be there, which every result would pass unseen.

    Raises:
        ValueError: a gate is none, or its figure needs weights that are not given.
    """
    for name in (Gate.parse(text).metric for text in gates):
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
"""JSON Schema of a list of gates, so that a form refuses what is none."""


@dataclass(frozen=True)
class Gate:
    """What a figure must not be: below `bound` for `>=`, above it for `<=`."""

    metric: str
    relation: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> "Gate":
        """Read a gate such as `ssim >= 0.5`.

        Raises:
            ValueError: it is none, or names no figure; the message says what to write.
        """
        found = _GATE.fullmatch(text)
        if not found:
            raise ValueError(f"{text[:80]!r} is no gate; write it like `ssim >= 0.5`")
        metric, relation, bound = found.groups()
        if metric not in ItemMetrics.model_fields:
            known = ", ".join(ItemMetrics.model_fields)
            raise ValueError(f"{metric[:80]!r} is no figure; there are {known}")
        return cls(metric, relation, float(bound))

    def violation(self, figures: ItemMetrics) -> str:
        """Return how a result breaks the gate, empty where it does not or has no such figure."""
        value = getattr(figures, self.metric)
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
"""What results are to keep, as a form and the command line take it."""


class RegionMetrics(Row):
    """How close one content region is to the reference region that it took its style from."""

    region: int = Field(description="Index of the content region, from 0.")
    style_id: str = Field(description="Id of the reference.")
    style_region: int = Field(description="Index of the region within that reference, from 0.")
    area: float = Field(description="Share of the image that the region covers, 0 to 1.")
    gram_distance: float | None = Field(None, description="Distance of textures.")
    patch_distance: float | None = Field(
        None, description="Distance of blocks; null where a region fills a quarter of no block."
    )
    colour_distance: float | None = Field(None, description="Distance of colour histograms.")


class ItemEvaluation(ItemMetrics):
    """One row per item that has an asset: its figures, and what is outside the gates."""

    item_id: str = Field(description="The item.")
    product_id: str = Field(description="Id of the product.")
    view: str = Field(description="Which photo of the product.")
    gallery_id: str = Field(description="Gallery whose style it takes.")
    asset_sha256: str = Field(description="Of the asset that was measured.")
    measure: str = Field(description="Version of the measurement: of figures and encoder.")
    regions: list[RegionMetrics] = Field(
        default_factory=list, description="One entry per content region."
    )
    flags: list[str] = Field(
        default_factory=list, description="A sentence for each gate that is not kept."
    )
    error: str = Field("", description="Why there are no figures, in a sentence.")


class ConfidenceInterval(Frozen):
    """A mean with its interval of confidence (95 %)."""

    value: float = Field(description="The figure.")
    low: float = Field(description="Lower end of the interval.")
    high: float = Field(description="Upper end of the interval.")
    count: int = Field(description="How many items it is of.")


class GalleryMetrics(Frozen):
    """All items of one gallery together."""

    frechet_lite0: ConfidenceInterval | None = Field(
        None,
        description="Frechet distance to the references' blocks over EfficientNet-Lite0; no FID.",
    )
    art_product_lite0: float | None = Field(
        None,
        description="(1 + structure distance) (1 + that): the form of ArtFID, not its networks.",
    )
    fid_art: ConfidenceInterval | None = Field(
        None,
        description="FID over the Inception network that was given; large for few pictures.",
    )
    art_fid: float | None = Field(
        None, description="(1 + mean of `lpips`) (1 + `fid_art`), where both were given."
    )


class EvaluationSummary(Frozen):
    """evaluation/summary.json: what the figures of a run come to."""

    items: int = Field(0, description="Items with an asset.")
    measured: int = Field(0, description="Items with figures.")
    flagged: int = Field(0, description="Items outside a gate.")
    unmeasured: int = Field(0, description="Items whose pictures could not be compared.")
    gates: list[str] = Field(default_factory=list, description="Gates that the run sets.")
    missed: dict[str, int] = Field(
        default_factory=dict, description="Number of measured items that miss each gate."
    )
    encoder: str = Field("efficientnet-lite0", description="Network behind the figures.")
    figures: dict[str, ConfidenceInterval] = Field(
        default_factory=dict, description="Means over all items."
    )
    galleries: dict[str, GalleryMetrics] = Field(
        default_factory=dict, description="Figures of each gallery's pictures as a set."
    )
