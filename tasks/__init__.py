"""The batch pipeline: storage, manifests, planning, Ray actors and their pool, result tables."""
