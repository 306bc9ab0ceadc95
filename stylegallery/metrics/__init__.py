"""Figures that judge a result: how much of its content it keeps, how close to its style it is.

Read :mod:`~stylegallery.metrics.item` first: it is what one item gets. The others hold the
metrics themselves: `content` of one picture against its original, `style` against its references,
`sets` of many pictures at once, with intervals.

Every figure here is computed on the packaged EfficientNet-Lite0 or on plain pixels, and says so by
its name. Figures that need a network of the user's own stand in `borrowed`.
"""
