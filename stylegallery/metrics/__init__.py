"""Metrics of results: how much of the content they keep, and how close they are in style.

Start with :mod:`~stylegallery.metrics.item`, which computes all metrics of one item: `content`
compares a result with its original, `style` with its references. `sets` compares sets of pictures
and computes confidence intervals.

Metrics use plain pixels or the packaged EfficientNet-Lite0. Those in `external` and `inception` use
networks whose weights the user provides.
"""
