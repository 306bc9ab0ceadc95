"""Run a plan: actors, the pool that drives them, progress and metrics."""
