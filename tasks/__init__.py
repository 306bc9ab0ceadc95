"""The batch work: storage, planning, the actors and the pool that drives them, result tables."""
