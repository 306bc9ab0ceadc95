"""The method `stylegallery`: style goes from region to region (arXiv 2603.10354, corrected).

What is corrected and why: stylegallery/README.md.
"""

from stylegallery.matching.correspondence import Correspondence
from stylegallery.matching.matching import match
from stylegallery.methods.base import ImageFeatures, MatchRequest, RegionFinder
from stylegallery.regions.region_map import RegionMap
from stylegallery.regions.segmentation import segment


class RegionalMethod(RegionFinder):
    """Semantic regions, matched by optimal transport or one to one, with exact region masks."""

    def segment(self, features: ImageFeatures) -> RegionMap:
        """Cluster UNet and semantic features; see :mod:`stylegallery.regions.segmentation`."""
        f = features
        return segment(f.unet, f.semantic, f.latent, self.params, f.priors)

    def match(self, request: MatchRequest) -> Correspondence:
        """Match similar regions; see :func:`stylegallery.matching.matching.match`."""
        r = request
        return match(r.content, r.styles, self.params, r.weights, r.pins)
